package payments

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
)

// operation is one change of money under one key. It names beforehand everything that its decision will look at, so
// that a whole batch can be claimed and locked together, and it decides in memory.
type operation struct {
	claim     idempotency.Claim
	accounts  []ledger.Ref // rows to lock, of an operation that makes a payment
	changes   bool         // it changes the claim's payment, whose row is locked, and then the two accounts that the row names
	reference string       // to claim; "" for none
	decide    func(*books) decision

	// request is the context of the request that it came with, for tracing. It governs nothing.
	request context.Context
}

// books are what decisions look at and move: the state that one transaction holds locked. Operations of a batch are decided
// one after the other on the same books, so the second sees what the first has done.
type books struct {
	ledger        *ledger.Book
	payments      map[paymentRef]*Payment
	references    references
	now           time.Time     // the one now of the transaction, of which the books tell
	clock         time.Time     // the database's, which ends authorizations; now may be later, see batch
	authorizedFor time.Duration // how long an authorization that is made now will hold
}

// decision is what an operation came to: a payment as it is now, with the event that announces it, or a refusal that
// leaves no trace.
type decision struct {
	payment *Payment
	refund  *Refund // that was made; nil: none
	event   string
	refusal *Refusal
}

// paymentRef names one payment of one merchant.
type paymentRef struct {
	merchantID int64
	id         uuid.UUID
}

// paymentOf is the payment that a claim makes or changes.
func paymentOf(claim idempotency.Claim) paymentRef {
	return paymentRef{claim.MerchantID, claim.PaymentID}
}

// reference is the caller's own name for what is paid, which one live payment may have.
type reference struct {
	merchantID int64
	name       string
}

// references are names, and the live payment that holds each; the zero UUID is a name that is free.
type references map[reference]uuid.UUID

// holder returns the payment that holds the name, if any does.
func (r references) holder(name reference) (uuid.UUID, bool) {
	id := r[name]
	return id, id != uuid.UUID{}
}
