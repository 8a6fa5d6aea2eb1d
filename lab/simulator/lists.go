package simulator

import (
	"encoding/json"
	"slices"
	"strconv"
)

const (
	pageDefault = 10
	pageMax     = 100
)

// listIntents is GET /v1/payment_intents.
func listIntents(e *entry, c *call) (any, error) {
	return list(e, c, bucketIntents, "/v1/payment_intents", nil,
		func(i intent) (any, error) { return i.wire(e, c.params.list("expand")...) })
}

// listRefunds is GET /v1/refunds.
func listRefunds(e *entry, c *call) (any, error) {
	return list(e, c, bucketRefunds, "/v1/refunds", []string{"payment_intent", "charge"},
		func(r refund) (any, error) { return r.wire(), nil })
}

// listDisputes is GET /v1/disputes.
func listDisputes(e *entry, c *call) (any, error) {
	return list(e, c, bucketDisputes, "/v1/disputes", []string{"payment_intent", "charge"},
		func(d dispute) (any, error) { return d.wire(), nil })
}

// row has the fields of a row that lists are filtered by.
type row struct {
	ID, Intent, Charge string
	Created            int64
}

// list answers one page, newest first.
func list[T any](e *entry, c *call, bucket, url string, filters []string,
	wire func(T) (any, error),
) (any, error) {
	names := []string{"limit", "starting_after", "created", "expand"}
	if err := c.params.allow(append(names, filters...)...); err != nil {
		return nil, err
	}
	limit, err := c.params.limit()
	if err != nil {
		return nil, err
	}
	wanted, err := c.params.selection(filters)
	if err != nil {
		return nil, err
	}
	page := wireList{Object: "list", Data: []any{}, URL: url}
	cursor := e.tx.Bucket([]byte(bucket)).Cursor()
	key, raw := cursor.Last()
	if after := c.params.text("starting_after"); after != "" {
		if found, _ := cursor.Seek([]byte(after)); string(found) != after {
			return nil, missing("starting_after", bucket, after)
		}
		key, raw = cursor.Prev()
	}
	for ; key != nil; key, raw = cursor.Prev() {
		var fields row
		if err := json.Unmarshal(raw, &fields); err != nil {
			return nil, err
		}
		if !wanted(fields) {
			continue
		}
		if int64(len(page.Data)) == limit {
			page.HasMore = true
			break
		}
		var full T
		if err := json.Unmarshal(raw, &full); err != nil {
			return nil, err
		}
		object, err := wire(full)
		if err != nil {
			return nil, err
		}
		page.Data = append(page.Data, object)
	}
	return page, nil
}

// limit reads how many rows a page may have.
func (p params) limit() (int64, error) {
	limit, err := p.integer("limit")
	switch {
	case err != nil:
		return 0, err
	case limit > pageMax:
		return 0, invalid("limit", "parameter_invalid_integer",
			"This value must be less than or equal to %d.", pageMax)
	case limit == 0:
		return pageDefault, nil
	}
	return limit, nil
}

// selection reads the filters of a list.
func (p params) selection(filters []string) (func(row) bool, error) {
	bounds := map[string]int64{}
	for _, bound := range []string{"gt", "gte", "lt", "lte"} {
		text := p.text("created[" + bound + "]")
		if text == "" {
			continue
		}
		second, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, invalid("created["+bound+"]", "parameter_invalid_integer",
				"Invalid integer: %s", text)
		}
		bounds[bound] = second
	}
	holds := func(bound string, compare func(limit int64) bool) bool {
		limit, set := bounds[bound]
		return !set || compare(limit)
	}
	return func(r row) bool {
		return holds("gt", func(limit int64) bool { return r.Created > limit }) &&
			holds("gte", func(limit int64) bool { return r.Created >= limit }) &&
			holds("lt", func(limit int64) bool { return r.Created < limit }) &&
			holds("lte", func(limit int64) bool { return r.Created <= limit }) &&
			!slices.ContainsFunc(filters, func(filter string) bool {
				is := map[string]string{"payment_intent": r.Intent, "charge": r.Charge}[filter]
				return p.text(filter) != "" && p.text(filter) != is
			})
	}, nil
}
