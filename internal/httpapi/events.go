package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/internal/payments"
)

const eventStreamType = "text/event-stream"

// eventReadsAtOnce bounds the connections that pages and single events take from the
// pool. Each may wait until a standby comes back, and the pool has other users.
const eventReadsAtOnce = 2

// listEvents reads the feed after a cursor, oldest first, as a page or as a stream. The
// next_cursor is never null: more events will come, and a poller goes on there.
func (a *api) listEvents(w http.ResponseWriter, r *http.Request) error {
	q, err := eventQueryOf(r)
	if err != nil {
		return err
	}
	if wantsStream(r) {
		return a.streamEvents(w, r, q)
	}
	var page outbox.Page
	err = a.readFeed(r.Context(), func(ctx context.Context) (err error) {
		page, err = q.read(ctx, a.Feed, requestOf(r).identity.MerchantID, q.limit)
		return err
	})
	if err != nil {
		return err
	}
	// The events are joined as they are: an encoder would write their texts in its own way.
	events := make([][]byte, len(page.Events))
	for i := range page.Events {
		events[i] = page.Events[i].JSON()
	}
	body := fmt.Appendf(nil, `{"data":[%s],"next_cursor":"%s"}`, bytes.Join(events, []byte(",")),
		*q.cursor(page.Next.Bytes()))
	writeBody(w, http.StatusOK, jsonType, body)
	return nil
}

// getEvent reads one event by its id, which says where it is.
func (a *api) getEvent(w http.ResponseWriter, r *http.Request) error {
	at, err := outbox.ParseEventID(pathParameter(r, "id"))
	if err != nil {
		return outbox.ErrNotFound
	}
	var event outbox.Event
	err = a.readFeed(r.Context(), func(ctx context.Context) (err error) {
		event, err = a.Feed.Get(ctx, requestOf(r).identity.MerchantID, at)
		return err
	})
	if err != nil {
		return err
	}
	writeBody(w, http.StatusOK, jsonType, event.JSON())
	return nil
}

// readFeed calls read once it may take a connection.
func (a *api) readFeed(ctx context.Context, read func(context.Context) error) error {
	if err := a.eventReads.Acquire(ctx, 1); err != nil {
		return err
	}
	defer a.eventReads.Release(1)
	return read(ctx)
}

// eventQuery says which events a caller wants.
type eventQuery struct {
	listQuery
	after  *outbox.Position // nil: before the oldest event, or at the latest
	latest bool             // without a cursor: it begins at the latest events
	filter outbox.Filter
}

// read reads the next page.
func (q *eventQuery) read(
	ctx context.Context, feed *outbox.Feed, merchantID int64, limit int,
) (outbox.Page, error) {
	if q.after == nil && q.latest {
		return feed.ReadLatest(ctx, merchantID, q.filter, limit)
	}
	return feed.Read(ctx, merchantID, q.after, q.filter, limit)
}

func eventQueryOf(r *http.Request) (q *eventQuery, err error) {
	q = &eventQuery{}
	if q.listQuery, err = listQueryOf(r, "type", "payment_id", "begin"); err != nil {
		return nil, err
	}
	switch q.begin {
	case "", "oldest":
	case "latest":
		q.latest = true
	default:
		return nil, &invalidRequest{detail: "begin must be oldest or latest"}
	}
	q.filter.Type = q.filters.Get("type")
	if q.filter.Type != "" && !slices.Contains(outbox.Types, q.filter.Type) {
		return nil, &invalidRequest{detail: "type is not one that an event can have"}
	}
	if id := q.filters.Get("payment_id"); id != "" {
		if q.filter.PaymentID, err = payments.ParseID(id); err != nil {
			return nil, &invalidRequest{detail: "payment_id is not the id of any payment"}
		}
	}
	// A reader of a stream that has lost its connection sends the last id of the stream,
	// with the address that it began with.
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		if q.position, err = q.readCursor(last); err != nil {
			return nil, err
		}
	}
	if q.position != nil {
		at, err := outbox.ParsePosition(q.position)
		if err != nil {
			return nil, errCursor
		}
		q.after = &at
	}
	return q, nil
}

// wantsStream tells whether the caller accepts a stream of events.
func wantsStream(r *http.Request) bool {
	if r.Method == http.MethodHead { // a stream without its body has no end either
		return false
	}
	for accepted := range strings.SplitSeq(strings.Join(r.Header["Accept"], ","), ",") {
		mediaType, parameters, err := mime.ParseMediaType(accepted)
		if err == nil && mediaType == eventStreamType {
			weight, err := strconv.ParseFloat(parameters["q"], 64)
			return err != nil || weight > 0 // a weight of 0 means "not acceptable"
		}
	}
	return false
}
