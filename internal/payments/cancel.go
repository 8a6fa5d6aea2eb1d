package payments

import (
	"context"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
)

// Cancel frees the money that an authorized payment holds. It answers and replays like
// Charge.
func (s *Service) Cancel(ctx context.Context, caller Caller, paymentID uuid.UUID) (Reply, error) {
	return s.do(ctx, newCancel(caller, paymentID))
}

func newCancel(caller Caller, paymentID uuid.UUID) *operation {
	f := fingerprintOn(operationCancel, paymentID)
	return newOperation(caller, f, operationCancel, paymentID, decideCancel)
}

func decideCancel(st *state, claim *idempotency.Claim) decision {
	return st.cancel(claim, CancellationRequested)
}

// cancel decides a cancellation. The authorization of a card is canceled at the
// processor first.
func (st *state) cancel(claim *idempotency.Claim, reason string) decision {
	payment, refusal := st.payment(claim)
	if refusal != nil {
		return decision{refusal: refusal}
	}
	if payment.byCard() {
		return st.ask(claim, payment, payment.Amount.Minor)
	}
	return st.setCanceled(payment, reason)
}

// setCanceled frees what the payment holds, and its reference.
func (st *state) setCanceled(payment *Payment, reason string) decision {
	st.book.Release(payment.hold())
	st.references.free(payment)
	payment.Status = StatusCanceled
	payment.CancellationReason = reason
	st.save(payment)
	return decision{payment: payment, event: "payment.canceled"}
}
