package client

import (
	"errors"
	"fmt"
	"time"
)

// ErrUnknownOutcome is what an error is (errors.Is) when the client does not know
// whether the request took effect, or may yet take it. The same request under the same
// key is safe at any time, and finds out. See [UnknownOutcomeError].
var ErrUnknownOutcome = errors.New("the outcome is unknown")

// ErrRetryBudget is what an error is (errors.Is) when an attempt was not followed by
// another because too many calls of this client have needed one; see
// [Options.RetryBudget].
var ErrRetryBudget = errors.New("the retry budget is used up")

// UnknownOutcomeError is an [ErrUnknownOutcome] with what is needed to go on.
type UnknownOutcomeError struct {
	Operation string // for people: what was tried
	Key       Key    // to go on with; "" if the operation has none and is simply repeated
	Attempts  int    // requests that were sent
	// why there are no more; the service's own *Error, if it said something, and
	// context errors are in it
	Err error
}

func (e *UnknownOutcomeError) Error() string {
	advice := "sending the same request again is safe and finds out"
	if e.Key != "" {
		advice = "the same request under the same key is safe and finds out"
	}
	return fmt.Sprintf("%s: the outcome is unknown after attempt %d (%s): %v", e.Operation,
		e.Attempts, advice, e.Err)
}

// Is tells that it is an ErrUnknownOutcome.
func (e *UnknownOutcomeError) Is(target error) bool { return target == ErrUnknownOutcome }

func (e *UnknownOutcomeError) Unwrap() error { return e.Err }

// Advice is what the service says about trying again.
type Advice string

const (
	// RetrySameKey means that the key is not used up: send again with it, later or
	// corrected.
	RetrySameKey Advice = "same_key"
	// RetryNewKey means that it is decided and stored: another attempt is a new intent,
	// with a new key.
	RetryNewKey Advice = "new_key"
	// RetryNever means that the key or the reference belongs to something done: look at
	// PaymentID.
	RetryNever Advice = "never"
)

// Error is the service's answer when it is not a yes: a problem document (RFC 9457).
// Its Code is stable; Title and Detail are for people. An answer that comes from a
// gateway in between has Status only.
type Error struct {
	Status    int    `json:"status"`
	Code      string `json:"code"`
	Type      string `json:"type"` // a page about the code
	Title     string `json:"title"`
	Detail    string `json:"detail"`
	Retry     Advice `json:"retry"`
	PaymentID string `json:"payment_id"` // the payment it is about; "" if it is about none
	// of the request that the answer was made for: a replay's is the first one's
	RequestID string       `json:"request_id"`
	Fields    []FieldError `json:"errors"`

	// the answer was stored by an earlier request under this key
	Replayed   bool          `json:"-"`
	RetryAfter time.Duration `json:"-"` // how long the service asks to wait; 0 if it does not say
}

// FieldError says what is wrong with one member of a request.
type FieldError struct {
	Pointer string `json:"pointer"` // JSON pointer (RFC 6901), for example "/amount"
	Detail  string `json:"detail"`
}

func (e *Error) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("status %d, and no word of the service: %s", e.Status, e.Title)
	}
	text := fmt.Sprintf("%s (%d): %s", e.Code, e.Status, e.Detail)
	if e.PaymentID != "" {
		text += "; payment " + e.PaymentID
	}
	return text + "; request " + e.RequestID
}

// Declined tells whether it is a decline: decided, stored, and the same for ever under
// its key.
func (e *Error) Declined() bool { return e.Retry == RetryNewKey }
