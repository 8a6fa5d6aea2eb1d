package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/cards"
	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/internal/problem"
	"github.com/paymentsvc/paymentsvc/internal/validate"
	"github.com/paymentsvc/paymentsvc/internal/webhooks"
)

// Errors of the API itself.
var (
	errNotFound         = errors.New("there is no resource at this path")
	errMethodNotAllowed = errors.New("this resource does not have that method")
	errReadOnlyKey      = errors.New("this API key may only read")
	errCrossOrigin      = errors.New(
		"the request is from a browser page of another origin, and such a page may only read",
	)
	errBodyTooLarge  = fmt.Errorf("the body may have at most %d bytes", bodySizeMax)
	errEventTooLarge = fmt.Errorf("the event may have at most %d bytes", processorEventSizeMax)
	errMediaType     = errors.New(
		"the body must be application/json (in a PATCH also application/merge-patch+json), " +
			"not compressed",
	)
	errPreconditionRequired = errors.New(
		"If-Match with the payment's ETag is required, to prevent lost updates",
	)
	errRateLimited = errors.New(
		"the merchant is over its request rate; Retry-After says when to try again",
	)
)

// pointerLengthMax limits the pointer in an answer, in bytes. A request's unknown member
// may have a name of any length.
const pointerLengthMax = 1000

// invalidRequest is a request that cannot be read.
type invalidRequest struct {
	detail  string
	pointer string // to the invalid member; "" if no single member is invalid
}

func (e *invalidRequest) Error() string { return e.detail }

type panicError struct{ value any }

func (e panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// problemOf is the only translation of errors into problems. An unknown error is a 500
// without details.
func problemOf(err error) *problem.Document {
	var refusal *payments.Refusal
	var broken *validate.Error
	var unreadable *invalidRequest
	switch {
	case errors.As(err, &refusal):
		return problemOfRefusal(refusal)
	case errors.As(err, &broken):
		return problemOfFields(broken)
	case errors.As(err, &unreadable):
		p := problem.New("invalid_request", unreadable.detail)
		if n := len(unreadable.pointer); n > 0 && n <= pointerLengthMax {
			p.Errors = []problem.Field{{Pointer: unreadable.pointer, Detail: unreadable.detail}}
		}
		return p
	}
	for _, known := range translations {
		if errors.Is(err, known.err) {
			p := problem.New(known.code, known.err.Error())
			if known.status != 0 {
				p.Status = known.status
			}
			return p
		}
	}
	if postgres.Unavailable(err) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, context.Canceled) {
		return problem.New("unavailable", "the database cannot be used right now")
	}
	return problem.New("internal_error",
		"the details are in the service's log, under the request_id")
}

var translations = []struct {
	err    error
	code   string
	status int // if it differs from the code's usual status
}{
	{err: errOverLimit, code: "overloaded"},
	{err: errTooManyStreams, code: "overloaded"},
	{err: idempotency.ErrKeyMissing, code: "idempotency_key_missing"},
	{err: idempotency.ErrKeyInvalid, code: "idempotency_key_invalid"},
	{err: idempotency.ErrKeyHasComma, code: "idempotency_key_invalid"},
	{err: merchants.ErrUnauthorized, code: "unauthorized"},
	{err: cards.ErrSignature, code: "unauthorized"},
	{err: cards.ErrNoEvent, code: "invalid_request"},
	{err: merchants.ErrNoMerchant, code: "not_found"},
	{err: errReadOnlyKey, code: "forbidden"},
	{err: errCrossOrigin, code: "forbidden"},
	{err: errNotFound, code: "not_found"},
	{err: payments.ErrNotFound, code: "not_found"},
	{err: ledger.ErrAccountNotFound, code: "not_found"},
	{err: ledger.ErrInvalidID, code: "invalid_request"},
	{err: ledger.ErrServiceAccount, code: "unprocessable"},
	{err: errMethodNotAllowed, code: "method_not_allowed"},
	{err: ledger.ErrCurrencyFixed, code: "account_currency_fixed"},
	{err: ledger.ErrOverdraftInUse, code: "overdraft_in_use"},
	{err: ledger.ErrAccountClosed, code: "account_closed", status: http.StatusConflict},
	{err: ledger.ErrAccountNotEmpty, code: "account_not_empty"},
	{err: ledger.ErrNotYet, code: "unprocessable"},
	{err: payments.ErrRefundNotFound, code: "not_found"},
	{err: outbox.ErrNotFound, code: "not_found"},
	{err: outbox.ErrCursorLost, code: "cursor_lost"},
	{err: outbox.ErrForeignIDs, code: "unavailable"},
	{err: payments.ErrVersionMismatch, code: "precondition_failed"},
	{err: errPreconditionRequired, code: "precondition_required"},
	{err: ledger.ErrVersionMismatch, code: "precondition_failed"},
	{err: ledger.ErrVersionRequired, code: "precondition_required"},
	{err: ledger.ErrNoVersion, code: "precondition_failed"},
	{err: webhooks.ErrNotFound, code: "not_found"},
	{err: webhooks.ErrInvalidID, code: "invalid_request"},
	{err: webhooks.ErrTooMany, code: "unprocessable"},
	{err: webhooks.ErrDisabled, code: "unprocessable"},
	{err: webhooks.ErrVersionMismatch, code: "precondition_failed"},
	{err: webhooks.ErrNoVersion, code: "precondition_failed"},
	{err: webhooks.ErrVersionRequired, code: "precondition_required"},
	{err: errBodyTooLarge, code: "payload_too_large"},
	{err: errEventTooLarge, code: "payload_too_large"},
	{err: errMediaType, code: "unsupported_media_type"},
	{err: errRateLimited, code: "rate_limited"},
	{err: payments.ErrOverloaded, code: "overloaded"},
	{err: merchants.ErrBusy, code: "overloaded"},
	{err: payments.ErrOutcomeUnknown, code: "outcome_unknown"},
	{err: payments.ErrUnavailable, code: "unavailable"},
	{err: postgres.ErrNotConfirmed, code: "unavailable"},
	{err: payments.ErrUnknownFingerprint, code: "unavailable"},
}

func problemOfRefusal(refusal *payments.Refusal) *problem.Document {
	p := problem.New(string(refusal.Code), refusal.Detail)
	if refusal.PaymentID != (uuid.UUID{}) {
		p.PaymentID = payments.FormatID(refusal.PaymentID)
	}
	if refusal.Pointer != "" {
		p.Errors = []problem.Field{{Pointer: refusal.Pointer, Detail: refusal.Detail}}
	}
	return p
}

func problemOfFields(broken *validate.Error) *problem.Document {
	p := problem.New("unprocessable", broken.Error())
	for _, field := range broken.Fields {
		p.Errors = append(p.Errors, problem.Field(field))
	}
	return p
}

// writeProblem answers an error with its problem. It keeps a fault of the service for
// the log.
func (a *api) writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	req := requestOf(r)
	req.code = p.Code
	p.RequestID = payments.FormatRequestID(req.id)
	header := w.Header()
	switch p.Status {
	case http.StatusUnauthorized:
		header.Set("WWW-Authenticate", challengeOf(err))
	case http.StatusServiceUnavailable:
		header.Set("Retry-After", "1")
	case http.StatusConflict:
		if p.Code == string(payments.CodeKeyInProgress) {
			header.Set("Retry-After", "1")
		}
	case http.StatusRequestEntityTooLarge:
		header.Set("Connection", "close") // the rest of the body is not read
	}
	if refusal, ok := errors.AsType[*payments.Refusal](err); ok && p.PaymentID != "" {
		req.paymentID = refusal.PaymentID
	}
	if p.Status >= http.StatusInternalServerError {
		req.err = err
		if _, panicked := errors.AsType[panicError](err); panicked {
			req.stack = string(debug.Stack())
		}
	}
	writeBody(w, p.Status, problem.ContentType, p.JSON())
}

// challengeOf names the credential that a request lacks (RFC 9110, section 11.6.1). An
// event of the processor has no API key, and none would help.
func challengeOf(err error) string {
	if errors.Is(err, cards.ErrSignature) {
		return "Stripe-Signature"
	}
	return "Bearer"
}
