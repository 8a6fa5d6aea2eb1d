package payments

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// request is any operation: of the charge, or of something on a payment that is there.
type request struct {
	operation string
	charge    Charge
	payment   uuid.UUID
	amount    *int64

	// Of a settlement.
	settles string // the key of the attempt's request
	word    Status
	by      string // "lease 1", "lease 2", or the processor's event
}

func charging(c Charge) request { return request{operation: operationCharge, charge: c} }

// settling is a settlement under the first lease of the attempt.
func settling(key string, word Status) request {
	return request{operation: operationSettle, settles: key, word: word, by: "lease 1"}
}

// drawSettlement is any word that the processor may have about any attempt, settled or
// not, from an instance that has the lease or not, or by an event.
func drawSettlement(t *rapid.T, m *model) request {
	a := rapid.SampledFrom(m.attempts).Draw(t, "attempt")
	word := map[string][]Status{
		operationCharge:    {StatusSucceeded, StatusDeclined},
		operationAuthorize: {StatusAuthorized, StatusDeclined},
		operationCapture:   {StatusSucceeded, StatusCanceled},
		operationCancel:    {StatusCanceled},
		operationRefund:    {StatusSucceeded, StatusDeclined},
	}[a.operation]
	return request{
		operation: operationSettle, payment: a.payment.id, settles: a.key,
		word: rapid.SampledFrom(word).Draw(t, "word"),
		by:   rapid.SampledFrom([]string{"lease 1", "lease 2", "event"}).Draw(t, "by"),
	}
}

func drawRequest(t *rapid.T, m *model) request {
	r := request{operation: rapid.SampledFrom([]string{
		operationCharge, operationCharge, operationCapture, operationCancel, operationRefund,
		operationRefund, operationSettle, operationSettle,
	}).Draw(t, "operation")}
	if r.operation == operationSettle && len(m.attempts) > 0 {
		return drawSettlement(t, m)
	}
	if r.operation == operationSettle || r.operation == operationCharge || len(m.payments) == 0 {
		return request{operation: operationCharge, charge: drawCharge(t)}
	}
	p := rapid.SampledFrom(m.payments).Draw(t, "payment")
	r.payment = p.id
	if rapid.IntRange(0, 9).Draw(t, "a stranger's payment") == 0 {
		r.payment = uuid.UUID{15: 1}
	}
	if r.operation == operationCancel {
		return r
	}
	const all = -1
	limit := p.Amount.Minor
	if r.operation == operationRefund {
		limit = p.captured - p.refunded - p.refunding
	}
	minor := rapid.SampledFrom([]int64{all, all, 0, 1, limit / 2, limit, limit + 1}).
		Draw(t, "amount")
	if minor != all {
		r.amount = &minor
	}
	return r
}

func (r request) String() string {
	if r.operation == operationCharge {
		return fmt.Sprintf("charge %+v", r.charge)
	}
	if r.operation == operationSettle {
		return fmt.Sprintf("settle %s as %s by %s", r.settles, r.word, r.by)
	}
	amount := "all"
	if r.amount != nil {
		amount = fmt.Sprint(*r.amount)
	}
	return fmt.Sprintf("%s %s of %s", r.operation, amount, FormatID(r.payment))
}

// send sends the request. The reply names the payment also if the request is at the
// processor.
func (r request) send(ctx context.Context, s *Service, caller Caller) (Reply, error) {
	if r.operation == operationSettle {
		return Reply{PaymentID: r.payment}, s.Settle(ctx, r.settlement(caller.Key.MerchantID))
	}
	reply, err := r.sendAsCaller(ctx, s, caller)
	if pending, ok := errors.AsType[*InProgress](err); ok {
		reply.PaymentID = pending.PaymentID
	}
	return reply, err
}

func (r request) settlement(merchantID int64) Settlement {
	settlement := Settlement{
		MerchantID: merchantID, PaymentID: r.payment, Status: r.word,
		AttemptID: attemptID(callerWith(merchantID, r.settles).Key),
	}
	if _, err := fmt.Sscanf(r.by, "lease %d", &settlement.Token); err != nil {
		settlement.EventID = r.by + " of " + r.settles
	}
	if r.word == StatusDeclined {
		settlement.DeclineCode = "expired_card"
	}
	return settlement
}

func (r request) sendAsCaller(ctx context.Context, s *Service, caller Caller) (Reply, error) {
	switch r.operation {
	case operationCapture:
		return s.Capture(ctx, caller, Capture{PaymentID: r.payment, Amount: r.amount})
	case operationCancel:
		return s.Cancel(ctx, caller, r.payment)
	case operationRefund:
		return s.Refund(ctx, caller, RefundRequest{PaymentID: r.payment, Amount: r.amount})
	}
	return s.Charge(ctx, caller, r.charge)
}
