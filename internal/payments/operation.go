package payments

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
)

// operation is one change of money under one key. It names beforehand everything that its decision will look at, so
// that a whole batch can be claimed and locked in one round trip, and it decides in memory.
type operation struct {
	claim     idempotency.Claim
	accounts  []ledger.Ref // rows to lock
	reference string       // to claim; "" for none
	decide    func(*books) decision

	// request is the context of the request that it came with, for tracing. It governs nothing.
	request context.Context
}

// books are what decisions look at and move: the state that one transaction holds locked. Operations of a batch are decided
// one after the other on the same books, so the second sees what the first has done.
type books struct {
	ledger     *ledger.Book
	references references
	now        time.Time // the one now of the transaction
}

// decision is what an operation came to: a payment with the event that announces it, or a refusal that leaves no trace.
type decision struct {
	payment *Payment
	event   string
	refusal *Refusal
}

// reference is the caller's own name for what is paid, which one live payment may have.
type reference struct {
	merchantID int64
	name       string
}

// references are the names that a batch asks for, and the live payment that holds each; the zero UUID is a name that is free, and
// that this transaction has claimed.
type references map[reference]uuid.UUID

// holder returns the payment that holds the name, if any does.
func (r references) holder(name reference) (uuid.UUID, bool) {
	id := r[name]
	return id, id != uuid.UUID{}
}
