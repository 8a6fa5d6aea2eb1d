package client

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrUnknownOutcome means that the client does not know whether the request took effect,
// or will do so later. The same request under the same key is safe at any time, and
// finds out. Test with errors.Is. See [UnknownOutcomeError].
var ErrUnknownOutcome = errors.New("the outcome is unknown")

// ErrRetryBudget means that no attempt followed because the retry budget of the client
// was used up (see [Options.RetryBudget]). Test with errors.Is.
var ErrRetryBudget = errors.New("the retry budget is used up")

// UnknownOutcomeError is an [ErrUnknownOutcome] with the data to go on.
type UnknownOutcomeError struct {
	Operation string // for people
	Key       Key    // of the call; "": it has none, and may be repeated
	Attempts  int    // number of requests that were sent
	Cause     error  // of the first attempt whose effect is unknown
	Err       error  // the last attempt's error, and the reason for no more attempts
}

func (e *UnknownOutcomeError) Error() string {
	advice := "sending the same request again is safe and finds out"
	if e.Key != "" {
		advice = "the same request under the same key is safe and finds out"
	}
	why := e.Err.Error()
	if cause := e.Cause.Error(); !strings.Contains(why, cause) {
		why = cause + "; in the end: " + why
	}
	return fmt.Sprintf("%s: the outcome is unknown after attempt %d (%s): %s", e.Operation,
		e.Attempts, advice, why)
}

// Is makes errors.Is find ErrUnknownOutcome.
func (e *UnknownOutcomeError) Is(target error) bool { return target == ErrUnknownOutcome }

// Unwrap gives errors.As the last attempt's error first.
func (e *UnknownOutcomeError) Unwrap() []error { return []error{e.Err, e.Cause} }

// Advice is the service's advice about a retry.
type Advice string

const (
	// RetrySameKey means that the key is free: use it again, later or corrected.
	RetrySameKey Advice = "same_key"
	// RetryNewKey means that the key has a stored decline. Another attempt is a new
	// intent, with a new key.
	RetryNewKey Advice = "new_key"
	// RetryNever means that the key or the reference belongs to the payment in PaymentID.
	RetryNever Advice = "never"
)

// Error is a problem document (RFC 9457), the service's answer to a request that did not
// succeed. Its Code is stable. Title and Detail are for people. The answer of a gateway
// has a Status and no Code.
type Error struct {
	Status    int    `json:"status"`
	Code      string `json:"code"`
	Type      string `json:"type"` // a page about the code
	Title     string `json:"title"`
	Detail    string `json:"detail"`
	Retry     Advice `json:"retry"`
	PaymentID string `json:"payment_id"` // "": no payment
	// RequestID is the request that the answer was made for: of a replay, the first one.
	RequestID string       `json:"request_id"`
	Fields    []FieldError `json:"errors"`

	Replayed   bool          `json:"-"` // the answer was made for an earlier request
	RetryAfter time.Duration `json:"-"` // the wait that the service asks for; 0: none
}

// FieldError says what is wrong with one member of a request.
type FieldError struct {
	Pointer string `json:"pointer"` // JSON pointer (RFC 6901), for example "/amount"
	Detail  string `json:"detail"`
}

func (e *Error) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("status %d, not from the service: %s", e.Status, e.Title)
	}
	text := fmt.Sprintf("%s (%d): %s", e.Code, e.Status, e.Detail)
	if e.PaymentID != "" {
		text += "; payment " + e.PaymentID
	}
	return text + "; request " + e.RequestID
}

// Declined tells whether the error is a decline, which is stored with the key.
func (e *Error) Declined() bool { return e.Retry == RetryNewKey }
