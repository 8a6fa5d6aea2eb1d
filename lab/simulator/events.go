package simulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// event is the row of an event. Every try to deliver it sends the same body.
type event struct {
	ID   string
	Type string
	Body json.RawMessage
}

// wireEvent is Stripe's envelope.
type wireEvent struct {
	ID              string `json:"id"`
	Object          string `json:"object"`
	APIVersion      string `json:"api_version"`
	Created         int64  `json:"created"`
	Data            any    `json:"data"`
	Livemode        bool   `json:"livemode"`
	PendingWebhooks int    `json:"pending_webhooks"`
	Type            string `json:"type"`
}

// emit writes an event and that it is to be delivered, in the transaction of its cause.
func (e *entry) emit(kind string, object any) error {
	id, err := newID(e, "evt", bucketEvents)
	if err != nil {
		return err
	}
	body, err := json.Marshal(wireEvent{
		ID: id, Object: "event", APIVersion: e.apiVersion, Created: e.now.Unix(),
		Data: map[string]any{"object": object}, PendingWebhooks: 1, Type: kind,
	})
	if err != nil {
		return err
	}
	if err := put(e, bucketEvents, id, event{ID: id, Type: kind, Body: body}); err != nil {
		return err
	}
	e.events = append(e.events, id)
	return put(e, bucketOutbox, id, id)
}

// undelivered lists the events that are still to be delivered, oldest first.
func undelivered(e *entry) (ids []string, err error) {
	err = each(e, bucketOutbox, func(id string) error {
		ids = append(ids, id)
		return nil
	})
	return ids, err
}

// signature is the value of the header Stripe-Signature.
func signature(secret string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = fmt.Fprintf(mac, "%d.%s", at.Unix(), body)
	return fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(mac.Sum(nil)))
}
