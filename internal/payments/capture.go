package payments

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/validate"
)

// Capture is a request to move the money that an authorized payment holds.
type Capture struct {
	PaymentID uuid.UUID
	Amount    *int64 // minor units, at most what was authorized; nil: all of it
}

// Capture moves the money that an authorized payment holds, once. It answers and
// replays like Charge.
func (s *Service) Capture(ctx context.Context, caller Caller, capture Capture) (Reply, error) {
	op := newCapture(caller, capture)
	if err := capture.check(); err != nil {
		return s.replayOrRefuse(ctx, op, err)
	}
	return s.do(ctx, op)
}

func (c *Capture) check() error {
	var fields validate.Fields
	requireAmount(&fields, c.Amount)
	return fields.Err()
}

func newCapture(caller Caller, capture Capture) *operation {
	f := fingerprintOn(operationCapture, capture.PaymentID)
	fingerprintAmount(f, capture.Amount)
	return newOperation(caller, f, operationCapture, capture.PaymentID,
		func(st *state, claim *idempotency.Claim) decision {
			return decideCapture(st, claim, capture.Amount)
		})
}

// decideCapture moves the money that an authorization holds, or a part of it. The rest
// is free again.
func decideCapture(st *state, claim *idempotency.Claim, amount *int64) decision {
	payment, refusal := st.payment(claim)
	if refusal != nil {
		return decision{refusal: refusal}
	}
	minor := payment.Amount.Minor
	if amount != nil {
		minor = *amount
	}
	switch {
	case !st.clock.Before(payment.AuthorizedUntil):
		return decision{refusal: refuseState("the authorization has expired")}
	case minor > payment.Amount.Minor:
		return decision{refusal: refuseTooLarge("more than the authorized", payment.Amount.Minor)}
	}
	if payment.byCard() {
		return st.captureByCard(claim, payment, minor)
	}
	return st.postCaptured(payment, minor)
}

// postCaptured moves captured money: out of the hold of the payment, if an account pays.
func (st *state) postCaptured(payment *Payment, minor int64) decision {
	st.book.Release(payment.hold())
	if err := st.book.Post(payment.journal(minor)); err != nil {
		return decision{refusal: st.holdAgain(payment.hold(), err)}
	}
	payment.Status = StatusSucceeded
	payment.AmountCaptured = minor
	st.save(payment)
	return decision{payment: payment, event: "payment.succeeded"}
}

// holdAgain undoes a release after a posting that the books cannot take.
func (st *state) holdAgain(hold ledger.Hold, err error) *Refusal {
	if !errors.Is(err, ledger.ErrBalanceTooLarge) {
		panic(err) // a bug: held money can be paid, and clearing accounts have no floor
	}
	if err := st.book.Place(hold); err != nil {
		panic(err) // it was placed a moment ago
	}
	return refuseBalance()
}
