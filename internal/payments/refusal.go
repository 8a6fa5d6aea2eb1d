package payments

import (
	"fmt"

	"github.com/google/uuid"
)

// Code says why a request is refused. Codes are part of the contract and never change.
type Code string

// The codes of refusals. Each is described in the contract.
const (
	CodeUnprocessable      Code = "unprocessable"
	CodeAccountNotFound    Code = "account_not_found"
	CodeAccountClosed      Code = "account_closed"
	CodeCurrencyMismatch   Code = "currency_mismatch"
	CodeDuplicateReference Code = "duplicate_reference"
	CodeNotFound           Code = "not_found"
	CodeInvalidState       Code = "invalid_state"
	CodeAmountTooLarge     Code = "amount_too_large"
	CodeKeyReused          Code = "idempotency_key_reused"
	CodeKeyExpired         Code = "idempotency_key_expired"
)

// Refusal is a definite no that is not stored: nothing was done, and the key is as free or as taken as it was before. (A
// decline is not a refusal: it is an answer, with a payment, and stored.)
type Refusal struct {
	Code      Code
	Detail    string    // for people
	PaymentID uuid.UUID // the payment that stands in the way; zero: none
	Fields    []FieldError
}

// FieldError says what is wrong with one member of a request.
type FieldError struct {
	Pointer string // JSON pointer (RFC 6901), for example "/amount"
	Detail  string
}

func (r *Refusal) Error() string { return fmt.Sprintf("%s: %s", r.Code, r.Detail) }

func refuseField(code Code, pointer, detail string) *Refusal {
	return &Refusal{Code: code, Detail: detail, Fields: []FieldError{{Pointer: pointer, Detail: detail}}}
}

// Complaints collects what is wrong with a request that could be read.
type Complaints []FieldError

// Require complains about the member at pointer unless it is as it must be.
func (c *Complaints) Require(ok bool, pointer, must string) {
	if !ok {
		*c = append(*c, FieldError{Pointer: pointer, Detail: must})
	}
}

// Refusal is all the complaints together; nil if there is none.
func (c *Complaints) Refusal() *Refusal {
	if len(*c) == 0 {
		return nil
	}
	first := (*c)[0]
	return &Refusal{Code: CodeUnprocessable, Detail: first.Pointer[1:] + " " + first.Detail, Fields: *c}
}
