package client

import (
	"context"
	"errors"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// PageRequest names one page of a list.
type PageRequest struct {
	Cursor string // NextCursor of the previous page; "": the first page
	Limit  int    // size of the page, 1 to 100; 0: 20
}

const pageSizeMax = 100

// Page is one page of a list.
type Page[T any] struct {
	Data       []T    `json:"data"`
	NextCursor string `json:"next_cursor"` // "": this is the last page
}

func (p *Page[T]) complete() bool { return p.Data != nil }

// get sends a request and decodes its answer.
func get[T any](ctx context.Context, c *Client, r *call, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	thing := new(T)
	if _, err := c.do(ctx, r, thing); err != nil {
		return nil, err
	}
	return thing, nil
}

func list[T any](
	ctx context.Context, c *Client, operation string, filter url.Values, page PageRequest,
	parts ...string,
) (*Page[T], error) {
	query := url.Values{}
	maps.Copy(query, filter)
	if page.Cursor != "" {
		query.Set("cursor", page.Cursor)
	}
	if page.Limit != 0 {
		query.Set("limit", strconv.Itoa(page.Limit))
	}
	r, err := newCall(operation, http.MethodGet, parts...)
	if err == nil && len(query) > 0 {
		r.path += "?" + query.Encode()
	}
	return get[Page[T]](ctx, c, r, err)
}

// all reads the pages of a list until the caller stops.
func all[T any](list func(PageRequest) (*Page[T], error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		request := PageRequest{Limit: pageSizeMax}
		for {
			page, err := list(request)
			if err == nil && page.NextCursor != "" && page.NextCursor == request.Cursor {
				err = errors.New("the next page has the same cursor")
			}
			if err != nil {
				yield(*new(T), err)
				return
			}
			for _, thing := range page.Data {
				if !yield(thing, nil) {
					return
				}
			}
			if page.NextCursor == "" {
				return
			}
			request.Cursor = page.NextCursor
		}
	}
}

func setTime(q url.Values, name string, at time.Time) {
	if !at.IsZero() {
		q.Set(name, at.UTC().Format(time.RFC3339Nano))
	}
}
