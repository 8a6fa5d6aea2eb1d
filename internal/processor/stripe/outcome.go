package stripe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/stripe/stripe-go/v84"
)

// Outcome is what is known about the effect of a call.
type Outcome int

const (
	// Unknown means that the call may have had its effect, now or later.
	Unknown Outcome = iota
	// Done means that the processor answered that the call had its effect.
	Done
	// NotDone means that the processor answered that this call had no effect. An earlier
	// call may have had it: Error.Intent or Retrieve shows that.
	NotDone
)

func (o Outcome) String() string {
	switch o {
	case Done:
		return "done"
	case NotDone:
		return "not done"
	case Unknown:
	}
	return "unknown"
}

// OutcomeOf is the outcome of the call that returned err. An error that is no *Error is
// Unknown.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return Done
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Outcome
	}
	return Unknown
}

// Codes of Error that are not Stripe's. Each is Unknown.
const (
	// CodeContradiction is a 2xx whose object is not the one that was asked for.
	CodeContradiction = "contradiction"
	// CodeIdempotency is a key that the processor knows with other parameters. No retry
	// under this key can succeed.
	CodeIdempotency = "idempotency_error"
	// CodeUnauthorized is a 401 or 403: the service's secret key is at fault.
	CodeUnauthorized = "unauthorized"
	// CodeUnknownPath is a 404 to the path of a call, and not to an id in it: STRIPE_URL is
	// at fault.
	CodeUnknownPath = "unknown_path"
	// CodeUnreadable is an answer without an object or an error that can be read.
	CodeUnreadable = "unreadable"
	// CodeNoAnswer is a connection that failed or a time limit that passed.
	CodeNoAnswer = "no_answer"
)

// Error is the error of a call. Its Outcome is NotDone only if the processor itself has
// answered that.
type Error struct {
	Outcome     Outcome
	Step        string  // "create", "confirm", …
	StatusCode  int     // of HTTP; 0: no answer
	Code        string  // Stripe's, or one of ours above
	DeclineCode string  // ours; "" if the card was not declined
	Detail      string  // Stripe's message, shortened
	Replayed    bool    // the answer is the stored one of an earlier call under this key
	Intent      *Intent // if the error carried it
	Err         error   // the cause, where it is not an answer
}

func (e *Error) Error() string {
	text := "stripe: " + e.Step + ": " + e.Outcome.String()
	if e.StatusCode != 0 {
		text += fmt.Sprintf(": status %d", e.StatusCode)
	}
	parts := []string{text, e.Code, e.DeclineCode, e.Detail}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), ": ")
}

func (e *Error) Unwrap() error { return e.Err }

var errUnreadable = errors.New("the answer cannot be read")

// classify says what an error of the SDK means for the effect of the call.
func (c *Client) classify(call callInfo, seen *exchange, err error) *Error {
	e := &Error{
		Step: call.step, StatusCode: seen.statusCode,
		Replayed: seen.header.Get("Idempotent-Replayed") == "true",
	}
	answer, ok := errors.AsType[*stripe.Error](err)
	switch {
	case seen.statusCode == http.StatusUnauthorized || seen.statusCode == http.StatusForbidden:
		// The card is not at fault, and the same call succeeds with the right key. The
		// processor's message may show a part of the key.
		e.Code, e.Detail = CodeUnauthorized,
			"the processor refused the service's secret key: check the configuration"
		return e
	case !ok:
		e.Code, e.Err = cause(seen, err)
		return e
	}
	e.Code, e.Detail = printable(string(answer.Code)), c.message(answer)
	if answer.PaymentIntent != nil && readable(answer.PaymentIntent) {
		intent := newIntent(answer.PaymentIntent)
		if call.intentID == "" || intent.ID == call.intentID {
			e.Intent = &intent
		}
	}
	switch {
	case seen.statusCode == http.StatusPaymentRequired && answer.Type == stripe.ErrorTypeCard:
		e.Outcome = NotDone
		e.DeclineCode = declineCode(answer)
	case seen.statusCode == http.StatusBadRequest && answer.Type == stripe.ErrorTypeIdempotency:
		e.Code = CodeIdempotency
	case seen.statusCode == http.StatusNotFound && answer.Code != stripe.ErrorCodeResourceMissing:
		e.Code = CodeUnknownPath
	case (seen.statusCode == http.StatusBadRequest || seen.statusCode == http.StatusNotFound) &&
		answer.Type == stripe.ErrorTypeInvalidRequest:
		e.Outcome = NotDone
	}
	return e
}

// cause says why a call has no answer that can be read. It drops the SDK's error where
// that may hold a piece of the body.
func cause(seen *exchange, err error) (code string, _ error) {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		if seen.statusCode != 0 {
			return CodeUnreadable, failed.Err // such as a redirect
		}
		return CodeNoAnswer, failed.Err // without the URL
	}
	if tooLong, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return CodeUnreadable, fmt.Errorf("the answer is longer than %d bytes", tooLong.Limit)
	}
	if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, context.Canceled) ||
		errors.Is(err, io.ErrUnexpectedEOF) {
		return CodeNoAnswer, err // while the body was read
	}
	return CodeUnreadable, errUnreadable
}

// message is the processor's message, without the secret key.
func (c *Client) message(answer *stripe.Error) string {
	text := answer.Msg
	if c.key != "" {
		text = strings.ReplaceAll(text, c.key, "[secret key]")
	}
	if answer.Param != "" {
		text += " (" + answer.Param + ")"
	}
	return printable(text)
}

// printable cuts a text from outside, and puts it on one line.
func printable(text string) string {
	const lengthMax = 300
	text = strings.ToValidUTF8(text[:min(len(text), lengthMax)], "")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return ' '
		}
		return r
	}, text)
}
