package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Event is one change of the state of a payment or a refund.
type Event struct {
	ID             string          `json:"id"`   // the same, however often it is delivered
	Type           string          `json:"type"` // for example "payment.succeeded"
	CreatedAt      time.Time       `json:"created_at"`
	PaymentID      string          `json:"payment_id"`
	PaymentVersion int64           `json:"payment_version"` // the order within a payment
	Data           json.RawMessage `json:"data"`            // the payment, or the refund
	// Body are the bytes of the whole event, the same in every delivery.
	Body []byte `json:"-"`
}

// UnmarshalJSON reads an event and keeps its bytes.
func (e *Event) UnmarshalJSON(body []byte) error {
	type plain Event
	if err := json.Unmarshal(body, (*plain)(e)); err != nil {
		return err
	}
	e.Body = append([]byte(nil), body...)
	return nil
}

func (e *Event) complete() bool { return e.ID != "" }

// EventFilter selects events. A field that is left zero does not filter.
type EventFilter struct {
	Type      string
	PaymentID string
	// Latest begins with the latest events, if the page has no cursor. Otherwise the feed
	// begins at the oldest event that is kept.
	Latest bool
}

// CodeCursorLost is the code of the *Error after which events may be missing: the event
// that the cursor names is gone.
const CodeCursorLost = "cursor_lost"

// ListEvents reads the events after a cursor, oldest first. NextCursor is where to go on,
// and never "". At the end of the feed it is the cursor of the request. A page may be
// short or empty before that.
func (c *Client) ListEvents(
	ctx context.Context, filter EventFilter, page PageRequest,
) (*Page[Event], error) {
	q := url.Values{}
	for name, value := range map[string]string{
		"type": filter.Type, "payment_id": filter.PaymentID,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if filter.Latest && page.Cursor == "" {
		q.Set("begin", "latest")
	}
	return list[Event](ctx, c, "listing events", q, page, "events")
}

// GetEvent reads an event by its id.
func (c *Client) GetEvent(ctx context.Context, eventID string) (*Event, error) {
	r, err := newCall("reading an event", http.MethodGet, "events", eventID)
	return get[Event](ctx, c, r, err)
}
