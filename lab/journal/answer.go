package journal

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Class is what an answer tells its caller about the money.
type Class int

// The classes.
const (
	Unknown Class = iota // nothing: the same key has to be sent again
	Ack                  // it has moved
	Refusal              // it has not
)

// Answer is what came of sending a request once.
type Answer struct {
	Target     string // the instance that was asked; set by the journal
	Sent, Done time.Time
	Status     int // 0: nobody answered
	Header     http.Header
	Body       []byte
	Err        error // why there is no whole answer
}

// Class tells what the caller knows now.
func (a Answer) Class() Class {
	switch {
	case a.Err != nil || a.Status == http.StatusConflict || a.Status == http.StatusTooManyRequests:
		return Unknown
	case a.Status >= 200 && a.Status < 300:
		return Ack
	case a.Status >= 400 && a.Status < 500:
		return Refusal
	}
	return Unknown
}

// Final tells whether this is an answer that is stored, so that every later one must
// equal it: an ack, or a decline.
func (a Answer) Final() bool {
	return a.Err == nil && (a.Class() == Ack || a.Status == http.StatusPaymentRequired)
}

// Denies tells whether the service said with this answer that the request did nothing:
// by a refusal, or by a 503 that is not "the outcome is unknown".
func (a Answer) Denies() bool {
	if a.Err != nil || a.Final() {
		return false
	}
	return a.Class() == Refusal || a.Code() == "unavailable" || a.Code() == "overloaded"
}

// Replayed tells whether the answer says that it is not the first.
func (a Answer) Replayed() bool { return a.Header.Get("Idempotent-Replayed") == "true" }

// RequestID is the service's name for this very request.
func (a Answer) RequestID() string { return a.Header.Get("Request-Id") }

// Code is that of a problem document.
func (a Answer) Code() string { return a.member("code") }

// PaymentID is that of the payment which the answer is about.
func (a Answer) PaymentID() string {
	if id := a.member("payment_id"); id != "" {
		return id // of a problem, or of a refund, whose own id is another
	}
	return a.member("id")
}

// Took is how long the caller waited.
func (a Answer) Took() time.Duration { return a.Done.Sub(a.Sent) }

func (a Answer) member(name string) string {
	var members map[string]any
	if json.Unmarshal(a.Body, &members) != nil {
		return ""
	}
	text, _ := members[name].(string)
	return text
}

func (a Answer) String() string {
	if a.Err != nil {
		return fmt.Sprintf("status %d after %v: %v", a.Status, a.Took(), a.Err)
	}
	return fmt.Sprintf("status %d after %v: %s", a.Status, a.Took(), a.Body)
}
