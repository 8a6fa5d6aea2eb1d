package stripe

import (
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v84"
	"github.com/stripe/stripe-go/v84/webhook"
)

// ErrSignature means that an event is not the processor's, or is too old or too new.
var ErrSignature = errors.New("the event's signature does not fit")

// signatureTolerance is how far the processor's clock may be from ours, either way.
const signatureTolerance = webhook.DefaultTolerance

// Event is a callback of the processor. It may come twice, late, early and out of order.
// Its object has the state of the event's time. Retrieve reads the present state.
type Event struct {
	ID        string
	Type      string // for example "payment_intent.succeeded"
	CreatedAt time.Time
	// At most one of these is set. None is set if the object is of another kind, or if
	// it has the shape of another API version and cannot be read.
	Intent  *Intent
	Refund  *Refund
	Dispute *Dispute
	// IntentID is the intent that the event is about; "" if it names none.
	IntentID string
}

// ReadEvent verifies the signature over the raw body and reads the event. now is the time
// of receipt. Another API version is no error: the account may be pinned to one.
func (c *Client) ReadEvent(body []byte, signature string, now time.Time) (Event, error) {
	if !c.signed(body, signature, now) {
		return Event{}, ErrSignature
	}
	return ParseEvent(body)
}

// ParseEvent reads an event whose signature was verified when it came.
func ParseEvent(body []byte) (Event, error) {
	var sent stripe.Event
	if err := json.Unmarshal(body, &sent); err != nil {
		return Event{}, errors.New("the event cannot be read") // the error may show the body
	}
	if sent.Object != "event" || sent.ID == "" || sent.Type == "" || sent.Data == nil {
		return Event{}, errors.New("the body is not an event")
	}
	event := Event{
		ID: sent.ID, Type: string(sent.Type), CreatedAt: time.Unix(sent.Created, 0).UTC(),
	}
	if err := event.readObject(sent.Data.Raw); err != nil {
		return Event{}, fmt.Errorf("event %s: %w", printable(event.ID), err)
	}
	return event, nil
}

// signed tells whether one of the secrets has signed the body within the tolerance. The
// SDK's own functions take the process's clock, one secret, and any time in the future.
func (c *Client) signed(body []byte, signature string, now time.Time) bool {
	var at time.Time
	var sums [][]byte
	for part := range strings.SplitSeq(signature, ",") {
		switch name, value, _ := strings.Cut(part, "="); name {
		case "t":
			seconds, err := strconv.ParseInt(value, 10, 64)
			if err != nil || !at.IsZero() {
				return false
			}
			at = time.Unix(seconds, 0)
		case "v1":
			if sum, err := hex.DecodeString(value); err == nil {
				sums = append(sums, sum)
			}
		}
	}
	if at.IsZero() || now.Sub(at).Abs() > signatureTolerance {
		return false
	}
	for _, secret := range c.secrets {
		if secret == "" {
			continue // anybody can sign with it
		}
		want := webhook.ComputeSignature(at, body, secret)
		for _, sum := range sums {
			if hmac.Equal(sum, want) {
				return true
			}
		}
	}
	return false
}

// readObject reads the event's object. It reads the intent's id separately. So if
// another field has changed and the object cannot be read, the id still can.
func (e *Event) readObject(raw json.RawMessage) error {
	var about struct {
		Object        string                `json:"object"`
		ID            string                `json:"id"`
		PaymentIntent *stripe.PaymentIntent `json:"payment_intent"` // an id, or expanded
	}
	if err := json.Unmarshal(raw, &about); err != nil {
		return errors.New("the object cannot be read")
	}
	if about.PaymentIntent != nil {
		e.IntentID = about.PaymentIntent.ID
	}
	switch about.Object {
	case "payment_intent":
		e.IntentID = about.ID
		var sent stripe.PaymentIntent
		if err := json.Unmarshal(raw, &sent); err == nil && readable(&sent) {
			intent := newIntent(&sent)
			e.Intent = &intent
		}
	case "refund":
		var sent stripe.Refund
		if err := json.Unmarshal(raw, &sent); err == nil && readableRefund(&sent) {
			refund := newRefund(&sent)
			e.Refund = &refund
		}
	case "dispute":
		var sent stripe.Dispute
		if err := json.Unmarshal(raw, &sent); err == nil && readableDispute(&sent) {
			dispute := newDispute(&sent)
			e.Dispute = &dispute
		}
	}
	return nil
}
