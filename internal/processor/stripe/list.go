package stripe

import (
	"context"
	"iter"
	"net/http"
	"slices"
	"time"

	"github.com/stripe/stripe-go/v84"
	"github.com/stripe/stripe-go/v84/form"
)

// pageSize is small, so that a page stays below answerSizeMax. An object of other
// software may have 27 KB of metadata in its intent, and again in its charge.
const pageSize = 20

// Refunds are all refunds of one intent, the newest first.
func (c *Client) Refunds(ctx context.Context, intentID string) ([]Refund, error) {
	call := callInfo{step: "list refunds", reads: true, intentID: intentID}
	if intentID == "" {
		return nil, call.unsent("no_intent", "the id of the intent is missing")
	}
	var refunds []Refund
	for refund, err := range refundsOf(ctx, c, call,
		&stripe.RefundListParams{PaymentIntent: &intentID}) {
		if err != nil {
			return nil, err
		}
		if refund.IntentID != intentID {
			return nil, call.contradiction()
		}
		refunds = append(refunds, refund)
	}
	return refunds, nil
}

// AllRefunds are the refunds of the account that were created in [since, until), the
// newest first. The processor counts whole seconds: both ends are rounded outwards. An
// error is the last value.
func (c *Client) AllRefunds(ctx context.Context, since, until time.Time) iter.Seq2[Refund, error] {
	return refundsOf(ctx, c, callInfo{step: "list refunds", reads: true},
		&stripe.RefundListParams{CreatedRange: between(since, until)})
}

func refundsOf(
	ctx context.Context, c *Client, call callInfo, params *stripe.RefundListParams,
) iter.Seq2[Refund, error] {
	return list(ctx, c, call, "/v1/refunds", params,
		func(sent *stripe.Refund) (Refund, string, bool) {
			return newRefund(sent), sent.ID, readableRefund(sent)
		})
}

// Intents are the intents of the account that were created in [since, until), like
// AllRefunds, each with its latest charge.
func (c *Client) Intents(ctx context.Context, since, until time.Time) iter.Seq2[Intent, error] {
	params := &stripe.PaymentIntentListParams{CreatedRange: between(since, until)}
	params.AddExpand("data.latest_charge")
	return list(ctx, c, callInfo{step: "list intents", reads: true}, "/v1/payment_intents", params,
		func(sent *stripe.PaymentIntent) (Intent, string, bool) {
			return newIntent(sent), sent.ID, readable(sent)
		})
}

// Disputes are the disputes of the account that were created in [since, until), like
// AllRefunds.
func (c *Client) Disputes(ctx context.Context, since, until time.Time) iter.Seq2[Dispute, error] {
	return list(ctx, c, callInfo{step: "list disputes", reads: true}, "/v1/disputes",
		&stripe.DisputeListParams{CreatedRange: between(since, until)},
		func(sent *stripe.Dispute) (Dispute, string, bool) {
			return newDispute(sent), sent.ID, readableDispute(sent)
		})
}

// list reads all pages of a list. The SDK's own iterator takes an empty page for the end,
// even if the page says that more follow, and any JSON object for an empty page. Then a
// reconciliation would report payments as missing. It also panics on a null.
func list[Sent, Read any](
	ctx context.Context, c *Client, call callInfo, path string, params stripe.ListParamsContainer,
	read func(*Sent) (_ Read, id string, ok bool),
) iter.Seq2[Read, error] {
	return func(yield func(Read, error) bool) {
		var none Read
		position := params.GetListParams()
		position.Limit, position.StartingAfter = stripe.Int64(pageSize), nil
		began := map[string]bool{} // the first id of each page: no page may come again
		for more := true; more; {
			sent, err := getPage[Sent](ctx, c, call, path, params)
			if err != nil {
				yield(none, err)
				return
			}
			for i, one := range sent.Data {
				result, id, ok := read(one)
				if !ok || i == 0 && began[id] {
					yield(none, call.unreadable())
					return
				}
				if !yield(result, nil) {
					return
				}
				began[id] = began[id] || i == 0
				position.StartingAfter = &id
			}
			more = sent.HasMore
		}
	}
}

// page is one page of a list.
type page[Sent any] struct {
	stripe.APIResource
	Object  string  `json:"object"`
	HasMore bool    `json:"has_more"`
	Data    []*Sent `json:"data"`
}

func getPage[Sent any](
	ctx context.Context, c *Client, call callInfo, path string, params stripe.ListParamsContainer,
) (*page[Sent], error) {
	sent, err := once(ctx, c, call, func(ctx context.Context) (*page[Sent], error) {
		query, sent := &form.Values{}, &page[Sent]{}
		form.AppendTo(query, params)
		return sent, c.backend.CallRaw(http.MethodGet, path, c.key, []byte(query.Encode()),
			&stripe.Params{Context: ctx}, sent)
	})
	switch {
	case err != nil:
		return nil, err
	case sent.Object != "list", slices.Contains(sent.Data, nil),
		sent.HasMore && len(sent.Data) == 0:
		return nil, call.unreadable()
	}
	return sent, nil
}

func between(since, until time.Time) *stripe.RangeQueryParams {
	end := until.Unix()
	if until.Nanosecond() > 0 {
		end++
	}
	return &stripe.RangeQueryParams{GreaterThanOrEqual: max(since.Unix(), 0), LesserThan: end}
}
