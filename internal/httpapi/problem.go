package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/httpserver"
	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/internal/payments"
)

// Errors that arise here and not in a service.
var (
	errNotFound             = errors.New("there is nothing here")
	errMethodNotAllowed     = errors.New("this resource does not have that method")
	errReadOnlyKey          = errors.New("this API key may only read")
	errCrossOrigin          = errors.New("a browser says that a page of another origin sends this; such a page may only read")
	errBodyTooLarge         = fmt.Errorf("the body may have at most %d bytes", bodySizeMax)
	errMediaType            = errors.New("the body must be application/json (in a PATCH also application/merge-patch+json), not compressed")
	errPreconditionRequired = errors.New("If-Match with the payment's ETag is required, so that nobody's change is undone unseen")
	errPreconditionFailed   = errors.New("the resource has changed since the version in If-Match")
	errRateLimited          = errors.New("this merchant sends more requests than it may; Retry-After says when the next one may come")
)

// pointerLengthMax is the longest pointer that an answer has, in bytes. A caller's own member may have a name of any length, and is
// not sent back as far as that.
const pointerLengthMax = 1000

// invalidRequest is a request that cannot be read.
type invalidRequest struct {
	detail  string
	pointer string // of the member that is wrong; "" if none is to blame
}

func (e *invalidRequest) Error() string { return e.detail }

type panicError struct{ value any }

func (e panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// problem is an RFC 9457 problem document.
type problem struct {
	Type      string         `json:"type"`
	Title     string         `json:"title"`
	Status    int            `json:"status"`
	Detail    string         `json:"detail"`
	Code      string         `json:"code"`
	Retry     retry          `json:"retry"`
	RequestID string         `json:"request_id"`
	PaymentID string         `json:"payment_id,omitzero"`
	Errors    []problemField `json:"errors,omitzero"`
}

type problemField struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

func newProblem(code, detail string) *problem {
	k := kinds[code]
	return &problem{Type: "/docs/errors/" + code, Title: k.title, Status: k.status, Detail: detail, Code: code, Retry: k.retry}
}

func (p *problem) json() []byte {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // texts and numbers only
	}
	return text
}

// problemOf is the only translation of errors into problems. What it does not know is a 500 without details.
func (a *api) problemOf(err error) *problem {
	var refusal *payments.Refusal
	var invalid *invalidRequest
	switch {
	case errors.As(err, &refusal):
		return problemOfRefusal(refusal)
	case errors.As(err, &invalid):
		p := newProblem("invalid_request", invalid.detail)
		if n := len(invalid.pointer); n > 0 && n <= pointerLengthMax {
			p.Errors = []problemField{{invalid.pointer, invalid.detail}}
		}
		return p
	}
	for _, known := range translations {
		if errors.Is(err, known.err) {
			p := newProblem(known.code, known.err.Error())
			if known.status != 0 {
				p.Status = known.status
			}
			return p
		}
	}
	if a.Unavailable(err) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return newProblem("unavailable", "the database cannot be used right now")
	}
	return newProblem("internal_error", "the details are in the service's log, under the request_id")
}

var translations = []struct {
	err    error
	code   string
	status int // where it differs from the code's own
}{
	{err: httpserver.ErrAmbiguous, code: "invalid_request"},
	{err: httpserver.ErrOverLimit, code: "overloaded"},
	{err: idempotency.ErrKeyMissing, code: "idempotency_key_missing"},
	{err: idempotency.ErrKeyInvalid, code: "idempotency_key_invalid"},
	{err: merchants.ErrUnauthorized, code: "unauthorized"},
	{err: errReadOnlyKey, code: "forbidden"},
	{err: errCrossOrigin, code: "forbidden"},
	{err: errNotFound, code: "not_found"},
	{err: payments.ErrNotFound, code: "not_found"},
	{err: ledger.ErrAccountNotFound, code: "not_found"},
	{err: errMethodNotAllowed, code: "method_not_allowed"},
	{err: ledger.ErrCurrencyFixed, code: "account_currency_fixed"},
	{err: ledger.ErrOverdraftInUse, code: "overdraft_in_use"},
	{err: ledger.ErrAccountClosed, code: "account_closed", status: http.StatusConflict},
	{err: ledger.ErrAccountNotEmpty, code: "account_not_empty"},
	{err: ledger.ErrNotYet, code: "unprocessable"},
	{err: payments.ErrRefundNotFound, code: "not_found"},
	{err: payments.ErrVersionMismatch, code: "precondition_failed"},
	{err: errPreconditionRequired, code: "precondition_required"},
	{err: ledger.ErrVersionMismatch, code: "precondition_failed"},
	{err: ledger.ErrNoVersion, code: "precondition_failed"},
	{err: errPreconditionFailed, code: "precondition_failed"},
	{err: errBodyTooLarge, code: "payload_too_large"},
	{err: errMediaType, code: "unsupported_media_type"},
	{err: errRateLimited, code: "rate_limited"},
	{err: payments.ErrOverloaded, code: "overloaded"},
	{err: merchants.ErrBusy, code: "overloaded"},
	{err: payments.ErrOutcomeUnknown, code: "outcome_unknown"},
	{err: payments.ErrUnavailable, code: "unavailable"},
	{err: payments.ErrNotSafeYet, code: "unavailable"},
	{err: payments.ErrUnknownFingerprint, code: "unavailable"},
}

func problemOfRefusal(refusal *payments.Refusal) *problem {
	p := newProblem(string(refusal.Code), refusal.Detail)
	if refusal.PaymentID != (uuid.UUID{}) {
		p.PaymentID = payments.FormatID(refusal.PaymentID)
	}
	for _, field := range refusal.Fields {
		p.Errors = append(p.Errors, problemField{field.Pointer, field.Detail})
	}
	return p
}

// writeProblem answers with the problem that err is, and keeps for the log what is the service's own fault.
func (a *api) writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	p := a.problemOf(err)
	req := requestOf(r)
	req.code = p.Code
	p.RequestID = formatRequestID(req.id)
	header := w.Header()
	switch p.Status {
	case http.StatusUnauthorized:
		header.Set("WWW-Authenticate", "Bearer")
	case http.StatusServiceUnavailable:
		header.Set("Retry-After", "1")
	case http.StatusRequestEntityTooLarge:
		header.Set("Connection", "close") // the rest of the body is not read
	}
	if p.Status >= http.StatusInternalServerError {
		req.err = err
		if _, panicked := errors.AsType[panicError](err); panicked {
			req.stack = string(debug.Stack())
		}
	}
	writeBody(w, p.Status, problemType, p.json())
}
