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
	st.book.Release(payment.hold())
	if err := st.book.Post(payment.journal(minor)); err != nil {
		if !errors.Is(err, ledger.ErrBalanceTooLarge) {
			panic(err) // a bug, since held money can be paid: see decideCharge
		}
		if err := st.book.Place(payment.hold()); err != nil {
			panic(err) // it was placed a moment ago
		}
		return decision{refusal: refuseBalance()}
	}
	payment.Status = StatusSucceeded
	payment.AmountCaptured = minor
	st.save(payment)
	return decision{payment: payment, event: "payment.succeeded"}
}
