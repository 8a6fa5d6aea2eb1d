package payments

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
)

// Settlement is the result of an attempt, as the processor reported it.
type Settlement struct {
	MerchantID int64
	AttemptID  uuid.UUID
	PaymentID  uuid.UUID
	// Token is the token of the lease under which the processor was asked. It is 0 if an
	// event of the processor brought the result: an event needs no lease.
	Token int64
	// EventID is the processor's id of that event; "": an instance asked the processor.
	EventID string

	// Status is the result. Of a charge: StatusSucceeded, StatusAuthorized or
	// StatusDeclined. Of a capture: StatusSucceeded, or StatusCanceled if the processor
	// had ended the authorization. Of a cancellation: StatusCanceled, or StatusSucceeded if
	// a person had captured at the processor. Of a refund: StatusSucceeded or
	// StatusDeclined.
	Status      Status
	DeclineCode string // of StatusDeclined
	// Captured is what the processor has captured instead of what the attempt has asked for,
	// if a person has decided to follow that. 0: what was asked for.
	Captured int64
}

// Reasons for which an attempt is not settled. Nothing was changed.
var (
	ErrFenced  = errors.New("another instance has taken the attempt over")
	ErrSettled = errors.New("the attempt is settled already")
	// ErrNotSettled means that our books cannot take the result: a person has to decide.
	ErrNotSettled = errors.New("the attempt cannot be settled")
)

// Settle writes the result of an attempt into our books, once. One transaction writes
// the entries, the event and the stored answer of the attempt's request, and marks the
// attempt as settled. After any other error than the three above, it may be settled or
// not, and a later call finds out.
func (s *Service) Settle(ctx context.Context, settlement Settlement) error {
	_, err := s.do(ctx, newSettle(settlement))
	refusal, refused := errors.AsType[*Refusal](err)
	switch {
	case err == nil:
		return nil
	case refused && refusal == refusalFenced:
		return ErrFenced
	case refused && (refusal == refusalSettled || refusal.Code == CodeKeyExpired):
		return ErrSettled // an expired key is that of an earlier settlement
	case refused:
		return fmt.Errorf("%w: %w", ErrNotSettled, err)
	}
	return err
}

var (
	refusalFenced  = refuseState(ErrFenced.Error())
	refusalSettled = refuseState(ErrSettled.Error())
)

// newSettle is the service's own operation. Its key names the attempt and the lease, or
// the event that brought the result: an event that comes twice has one effect. Two
// leases have two keys. Under one key the two settlements would share a slot, and the
// refusal of the fenced one would answer both.
func newSettle(settlement Settlement) *operation {
	key := idempotency.Key{
		MerchantID: settlement.MerchantID,
		Scope:      idempotency.ScopeService,
		Value: fmt.Sprintf("%s:%s:%d", operationSettle, settlement.AttemptID,
			settlement.Token),
	}
	if settlement.EventID != "" {
		key.Scope, key.Value = idempotency.ScopeStripe, settlement.EventID
	}
	f := fingerprintOn(operationSettle, settlement.PaymentID)
	f.Text("attempt_id", settlement.AttemptID.String())
	op := newOperation(Caller{Key: key, RequestID: newID()}, f, operationSettle,
		settlement.PaymentID, func(st *state, claim *idempotency.Claim) decision {
			return decideSettle(st, claim, &settlement)
		})
	op.attempt = attemptRef{settlement.MerchantID, settlement.AttemptID}
	return op
}

// decideSettle settles an attempt once: under its latest lease, or by an event.
func decideSettle(st *state, claim *idempotency.Claim, settlement *Settlement) decision {
	attempt := st.attempts[attemptRef{settlement.MerchantID, settlement.AttemptID}]
	locked := st.payments[refOf(claim)]
	switch {
	case attempt == nil, locked == nil, attempt.paymentID != locked.ID:
		return decision{refusal: refuseState("there is no such attempt on the payment")}
	case attempt.settled:
		return decision{refusal: refusalSettled}
	case settlement.Token != 0 && settlement.Token != attempt.token:
		return decision{refusal: refusalFenced}
	}
	payment := *locked
	payment.PendingOperation = ""
	decided := st.settle(&payment, attempt, settlement)
	if decided.refusal == nil {
		attempt.settled = true
		decided.settled, decided.eventID = attempt, settlement.EventID
	}
	return decided
}

// settle applies the result to the payment.
func (st *state) settle(payment *Payment, attempt *attempt, settlement *Settlement) decision {
	type result struct {
		operation string
		status    Status
	}
	switch (result{attempt.operation, settlement.Status}) {
	case result{operationCharge, StatusSucceeded}:
		return st.postCaptured(payment, attempt.minor)
	case result{operationCapture, StatusSucceeded}:
		return st.followCapture(payment, cmp.Or(settlement.Captured, attempt.minor))
	case result{operationCancel, StatusSucceeded}, result{operationExpire, StatusSucceeded}:
		return st.followCapture(payment, settlement.Captured)
	case result{operationAuthorize, StatusAuthorized}:
		payment.Status = StatusAuthorized
		payment.AuthorizedUntil = st.clock.Add(st.authorizedFor)
		st.save(payment)
		return decision{payment: payment, event: "payment.authorized"}
	case result{operationCharge, StatusDeclined}, result{operationAuthorize, StatusDeclined}:
		st.book.Release(payment.hold())
		st.references.free(payment)
		payment.Status = StatusDeclined
		payment.DeclineCode = settlement.DeclineCode
		st.save(payment)
		return decision{payment: payment, event: "payment.declined"}
	case result{operationCancel, StatusCanceled}:
		return st.setCanceled(payment, CancellationRequested)
	case result{operationExpire, StatusCanceled}, result{operationCapture, StatusCanceled}:
		return st.setCanceled(payment, CancellationExpired)
	case result{operationRefund, StatusSucceeded}, result{operationRefund, StatusDeclined}:
		return st.settleRefund(payment, st.refunds[attempt.refundID], settlement)
	}
	return decision{refusal: refuseState(
		"a " + attempt.operation + " cannot come to " + string(settlement.Status))}
}

// followCapture posts a capture whose amount a person may have chosen.
func (st *state) followCapture(payment *Payment, minor int64) decision {
	if minor < 1 || minor > payment.Amount.Minor {
		return decision{refusal: refuseState(
			fmt.Sprintf("%d cannot be captured of the payment", minor))}
	}
	return st.postCaptured(payment, minor)
}

// settleRefund moves the money that the refund holds, or frees it.
func (st *state) settleRefund(
	payment *Payment, refund *Refund, settlement *Settlement,
) decision {
	settled := *refund
	st.book.Release(refund.hold(payment))
	payment.AmountRefunding -= refund.Amount.Minor
	if settlement.Status == StatusDeclined {
		settled.Status = RefundDeclined
		settled.DeclineCode = settlement.DeclineCode
		st.save(payment)
		return decision{payment: payment, refund: &settled, event: "refund.declined"}
	}
	if err := st.book.Post(refund.journal(payment)); err != nil {
		return decision{refusal: st.holdAgain(refund.hold(payment), err)}
	}
	settled.Status = RefundSucceeded
	payment.AmountRefunded += refund.Amount.Minor
	st.save(payment)
	return decision{payment: payment, refund: &settled, event: "refund.succeeded"}
}
