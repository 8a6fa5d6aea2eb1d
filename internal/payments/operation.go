package payments

import (
	"context"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/validate"
)

// operation is one change of money under one key. It names in advance every row that its
// decision needs, so that a whole batch can be claimed and locked together. Its decision
// is made in memory.
type operation struct {
	claim     idempotency.Claim
	reference string       // to claim; "" for none
	accounts  []ledger.Ref // to lock, of an operation that makes a payment
	// existing: the claim's payment is there already. Its row is locked, and then the
	// two accounts that the row names.
	existing bool
	attempt  attemptRef // to lock, of the settlement of a card; zero: none
	decide   func(*state, *idempotency.Claim) decision

	trace context.Context // of the caller's request; it governs nothing

	// The result of the latest run: one of these. It counts once the group commit hands
	// the operation back without an error.
	record    *idempotency.Record // what the key stands for now
	refusal   *Refusal            // why the key is still free
	blockedBy *row                // a busy row that must be free first; the key is still free

	clock time.Time // the database's, at that transaction
}

// newOperation is an operation on an existing payment.
func newOperation(
	caller Caller, f *idempotency.Fingerprinter, name string, paymentID uuid.UUID,
	decide func(*state, *idempotency.Claim) decision,
) *operation {
	return &operation{
		claim: idempotency.Claim{
			Key:         caller.Key,
			Operation:   name,
			Fingerprint: f.Sum(),
			RequestID:   caller.RequestID,
			PaymentID:   paymentID,
		},
		existing: true,
		decide:   decide,
	}
}

// merchant is whose money the operation moves.
func (op *operation) merchant() int64 { return op.claim.MerchantID }

// requireAmount complains about an amount that no payment can have; nil is all of it.
func requireAmount(fields *validate.Fields, minor *int64) {
	fields.Require(minor == nil || *minor > 0, "/amount", "must be at least 1")
	fields.Require(minor == nil || *minor <= ledger.AmountMax, "/amount",
		"must be at most 9007199254740991")
}

// fingerprintAmount tells a missing amount from every given one: what a missing one means
// depends on the payment.
func fingerprintAmount(f *idempotency.Fingerprinter, amount *int64) {
	if amount != nil {
		f.Text("amount", strconv.FormatInt(*amount, 10))
	}
}

// fingerprintOn begins the canonical form of a request on one payment; see
// Charge.fingerprint.
func fingerprintOn(operationName string, paymentID uuid.UUID) *idempotency.Fingerprinter {
	f := idempotency.NewFingerprinter(operationName)
	f.Text("payment_id", FormatID(paymentID))
	return f
}

// decision is what an operation came to in memory: a payment as it is now, with the
// event that announces it, or a refusal that leaves no trace.
type decision struct {
	payment *Payment
	refund  *Refund // that was made, or settled; nil: none
	event   string  // "" for a change that is not announced
	refusal *Refusal

	// Of a card payment.
	begun   *attempt // nil, or the request goes to the processor, and is answered later
	settled *attempt // nil, or the processor's result has come
	eventID string   // of the processor's event that brought the result; "" for none
}

// state is the rows that one transaction holds locked, as its decisions so far have
// left them. The operations of a batch are decided one after the other, so the second
// sees what the first did.
type state struct {
	book       *ledger.Book // the accounts
	payments   map[paymentRef]*Payment
	saved      map[paymentRef]*Payment // those that a decision has changed
	references references
	attempts   map[attemptRef]*attempt
	refunds    map[uuid.UUID]*Refund // of the attempts that are refunds
	// clock is the database's, read after the locks. It ends authorizations and
	// retentions.
	clock time.Time
	// now is the transaction's timestamp: the clock, or the last entry of an account in
	// the batch if that is later. So an account's history never goes back when a clock
	// is set back.
	now           time.Time
	authorizedFor time.Duration // how long an authorization that is made now holds money
	attemptLease  time.Duration // how long a new attempt is left to the instance that began it
	checkCard     func(ledger.Money) error
}

// payment is a copy of the claim's payment, to be changed, if its status allows the
// operation.
func (st *state) payment(claim *idempotency.Claim) (*Payment, *Refusal) {
	locked := st.payments[refOf(claim)]
	switch {
	case locked == nil:
		return nil, &Refusal{Code: CodeNotFound, Detail: ErrNotFound.Error()}
	case locked.Status != requiredStatus[claim.Operation]:
		return nil, refuseState("the payment is " + string(locked.Status))
	case locked.PendingOperation != "":
		return nil, refuseState("the processor is asked for another change of the payment (" +
			locked.PendingOperation + ")")
	}
	payment := *locked
	return &payment, nil
}

// save keeps the payment under its next version, for the operations that follow.
func (st *state) save(payment *Payment) {
	payment.Version++
	ref := paymentRef{payment.MerchantID, payment.ID}
	st.payments[ref], st.saved[ref] = payment, payment
}

// paymentRef names one payment of one merchant.
type paymentRef struct {
	merchantID int64
	id         uuid.UUID
}

// refOf is the payment that a claim makes or changes.
func refOf(claim *idempotency.Claim) paymentRef {
	return paymentRef{claim.MerchantID, claim.PaymentID}
}
