package payments

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
)

// Settlement is the processor's final word about an attempt.
type Settlement struct {
	MerchantID int64
	AttemptID  uuid.UUID
	PaymentID  uuid.UUID
	// Token is of the lease under which the processor was asked. 0 is for an event of the
	// processor, which needs no lease.
	Token int64
	// EventID is the processor's id of that event; "": the processor was asked.
	EventID string

	// Status is what the attempt came to. A charge: StatusSucceeded, StatusAuthorized or
	// StatusDeclined. A capture: StatusSucceeded, or StatusCanceled if the processor had
	// ended the authorization. A cancellation: StatusCanceled. A refund: StatusSucceeded
	// or StatusDeclined.
	Status      Status
	DeclineCode string // of StatusDeclined
}

// Reasons for which an attempt is not settled. Nothing was changed.
var (
	ErrFenced  = errors.New("another instance has taken the attempt over")
	ErrSettled = errors.New("the attempt is settled already")
	// ErrNotSettled means that our books cannot follow the processor: a person has to look.
	ErrNotSettled = errors.New("the attempt cannot be settled")
)

// Settle writes the processor's word into our books, once: entries, event, the stored
// answer of the attempt's request, and the end of the attempt, in one transaction. After
// any other error than the three above, a later call finds out.
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

// newSettle is the service's own operation. Its key is the attempt's lease, or the event
// that has the processor's word: an event that comes twice has one effect. Two leases have
// two keys, so that a fenced settlement never answers for another that shares its slot.
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

// decideSettle goes forward only: an attempt that is settled stays as it is.
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

// settle is what the processor's word does to the payment.
func (st *state) settle(payment *Payment, attempt *attempt, settlement *Settlement) decision {
	type word struct {
		operation string
		status    Status
	}
	switch (word{attempt.operation, settlement.Status}) {
	case word{operationCharge, StatusSucceeded}, word{operationCapture, StatusSucceeded}:
		return st.take(payment, attempt.minor)
	case word{operationAuthorize, StatusAuthorized}:
		payment.Status = StatusAuthorized
		payment.AuthorizedUntil = st.clock.Add(st.authorizedFor)
		st.save(payment)
		return decision{payment: payment, event: "payment.authorized"}
	case word{operationCharge, StatusDeclined}, word{operationAuthorize, StatusDeclined}:
		st.book.Release(payment.hold())
		st.references.free(payment)
		payment.Status = StatusDeclined
		payment.DeclineCode = settlement.DeclineCode
		st.save(payment)
		return decision{payment: payment, event: "payment.declined"}
	case word{operationCancel, StatusCanceled}:
		return st.end(payment, CancellationRequested)
	case word{operationExpire, StatusCanceled}, word{operationCapture, StatusCanceled}:
		return st.end(payment, CancellationExpired)
	case word{operationRefund, StatusSucceeded}, word{operationRefund, StatusDeclined}:
		return st.settleRefund(payment, st.refunds[attempt.refundID], settlement)
	}
	return decision{refusal: refuseState(
		"a " + attempt.operation + " cannot come to " + string(settlement.Status))}
}

// take posts what the processor has captured.
func (st *state) take(payment *Payment, minor int64) decision {
	st.book.Release(payment.hold())
	if err := st.book.Post(payment.journal(minor)); err != nil {
		return decision{refusal: st.holdAgain(payment.hold(), err)}
	}
	payment.Status = StatusSucceeded
	payment.AmountCaptured = minor
	st.save(payment)
	return decision{payment: payment, event: "payment.succeeded"}
}

// settleRefund moves what the refund held, or frees it.
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

// holdAgain undoes a release after a posting that the books cannot take.
func (st *state) holdAgain(hold ledger.Hold, err error) *Refusal {
	if !errors.Is(err, ledger.ErrBalanceTooLarge) {
		panic(err) // a bug: clearing accounts have no floor, and refunds are held
	}
	if err := st.book.Place(hold); err != nil {
		panic(err) // it was placed a moment ago
	}
	return refuseBalance()
}
