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
	CodeKeyInProgress      Code = "idempotency_key_in_progress"
	CodeKeyExpired         Code = "idempotency_key_expired"
)

// Refusal is a "no" that leaves no trace: this request did nothing, and the key is as
// free or as taken as it was before. (A decline is not a refusal: it is an answer, with a
// payment, and stored.)
type Refusal struct {
	Code      Code
	Detail    string    // for people
	PaymentID uuid.UUID // the payment that stands in the way; zero: none
	Pointer   string    // to the member of the request that is to blame (RFC 6901); "": none
}

func (r *Refusal) Error() string { return fmt.Sprintf("%s: %s", r.Code, r.Detail) }

func refuseField(code Code, pointer, detail string) *Refusal {
	return &Refusal{Code: code, Detail: detail, Pointer: pointer}
}

func refuseState(detail string) *Refusal {
	return &Refusal{
		Code:   CodeInvalidState,
		Detail: detail,
	}
}

func refuseTooLarge(than string, limit int64) *Refusal {
	return refuseField(CodeAmountTooLarge, "/amount",
		fmt.Sprintf("the amount is %s %d", than, limit))
}

func refuseBalance() *Refusal {
	return refuseField(CodeUnprocessable, "/amount",
		"would make a balance, or the amount held, exceed ±9007199254740991")
}
