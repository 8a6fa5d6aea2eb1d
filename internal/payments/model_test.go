package payments

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// model is what the contract says about a merchant, in a few lines and without a
// database.
type model struct {
	balances, held map[string]int64
	keys           map[string]answered
	payments       []*modelPayment // in the order of their making
	attempts       []*modelAttempt // at the card processor, or settled
}

type answered struct {
	request string
	result  string
}

// modelAttempt is a request that the card processor was asked for.
type modelAttempt struct {
	key, operation string
	payment        *modelPayment
	minor          int64
	settledBy      string // "": it is at the processor
}

type modelPayment struct {
	Charge
	id                 uuid.UUID
	status             Status
	captured, refunded int64
	refunding          int64
	pending            string // that the processor is asked for
}

func newModel(balances map[string]int64) *model {
	return &model{balances: balances, held: map[string]int64{}, keys: map[string]answered{}}
}

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

// answer is what the request must be answered. made is the id of the payment that the
// engine says it made.
func (m *model) answer(key string, r request, made uuid.UUID) string {
	if r.operation == operationSettle {
		return m.settle(r)
	}
	if before, taken := m.keys[key]; taken {
		if before.request != r.String() {
			return "refused: idempotency_key_reused"
		}
		return again(before.result)
	}
	var got string
	var refusal Code
	switch r.operation {
	case operationCharge:
		got, refusal = m.charge(key, r.charge, made)
	default:
		got, refusal = m.change(key, r)
	}
	if refusal != "" {
		return "refused: " + string(refusal)
	}
	m.keys[key] = answered{r.String(), got}
	return got
}

// ask is a request that goes to the processor.
func (m *model) ask(key, operation string, p *modelPayment, minor int64) string {
	m.attempts = append(m.attempts, &modelAttempt{
		key: key, operation: operation, payment: p, minor: minor,
	})
	return begun
}

// settle is what the processor's word does, once.
func (m *model) settle(r request) string {
	a := m.attempts[slices.IndexFunc(m.attempts, func(a *modelAttempt) bool {
		return a.key == r.settles
	})]
	switch {
	case a.settledBy == r.by:
		return settled
	case a.settledBy != "":
		return ErrSettled.Error()
	case r.by == "lease 2":
		return ErrFenced.Error()
	}
	a.settledBy = r.by
	m.keys[a.key] = answered{m.keys[a.key].request, m.follow(a, r.word)}
	return settled
}

// follow changes the books, and returns the answer to the attempt's request.
func (m *model) follow(a *modelAttempt, word Status) string {
	p := a.payment
	p.pending = ""
	if a.operation == operationRefund {
		p.refunding -= a.minor
		m.held[p.DestinationAccount] -= a.minor
		if word == StatusDeclined {
			return "402"
		}
		return m.refund(p, a.minor)
	}
	p.status = word
	if word == StatusSucceeded {
		m.capture(p, a.minor)
	}
	switch {
	case word == StatusDeclined, word == StatusCanceled && a.operation == operationCapture:
		return "402"
	case a.operation == operationCharge, a.operation == operationAuthorize:
		return "201"
	}
	return "200"
}

func (m *model) charge(key string, c Charge, id uuid.UUID) (got string, refusal Code) {
	_, sourceExists := m.balances[c.SourceAccount]
	switch {
	case c.Amount.Minor < 1, c.SourceAccount == c.DestinationAccount:
		return "", CodeUnprocessable
	case !sourceExists && c.SourceAccount != "world" && c.PaymentMethod == "":
		return "", CodeAccountNotFound
	}
	for _, p := range m.payments {
		if c.Reference != "" && p.Reference == c.Reference && p.status != StatusDeclined &&
			p.status != StatusCanceled {
			return "", CodeDuplicateReference
		}
	}
	p := &modelPayment{Charge: c, id: id}
	m.payments = append(m.payments, p)
	if c.PaymentMethod != "" {
		p.status = StatusProcessing
		operation := operationCharge
		if c.AuthorizeOnly {
			operation = operationAuthorize
		}
		return m.ask(key, operation, p, c.Amount.Minor), ""
	}
	if !m.covers(c.SourceAccount, c.Amount.Minor) {
		p.status = StatusDeclined
		return "402", ""
	}
	if c.AuthorizeOnly {
		p.status = StatusAuthorized
		m.held[c.SourceAccount] += c.Amount.Minor
		return "201", ""
	}
	m.capture(p, c.Amount.Minor)
	return "201", ""
}

func (m *model) covers(account string, minor int64) bool {
	return account == "world" || m.balances[account]-m.held[account] >= minor
}

func (m *model) capture(p *modelPayment, minor int64) {
	p.status, p.captured = StatusSucceeded, minor
	m.balances[p.SourceAccount] -= minor
	m.balances[p.DestinationAccount] += minor
}

func (m *model) change(key string, r request) (got string, refusal Code) {
	if r.amount != nil && *r.amount < 1 {
		return "", CodeUnprocessable
	}
	var p *modelPayment
	for _, candidate := range m.payments {
		if candidate.id == r.payment {
			p = candidate
		}
	}
	if p == nil {
		return "", CodeNotFound
	}
	needs, most := StatusAuthorized, p.Amount.Minor
	if r.operation == operationRefund {
		needs, most = StatusSucceeded, p.captured-p.refunded-p.refunding
	}
	minor := most
	if r.amount != nil {
		minor = *r.amount
	}
	switch {
	case p.status != needs, p.pending != "":
		return "", CodeInvalidState
	case minor > most, minor == 0:
		return "", CodeAmountTooLarge
	}
	if r.operation == operationRefund {
		return m.giveBack(key, p, minor), ""
	}
	if p.PaymentMethod != "" {
		p.pending = r.operation
		return m.ask(key, r.operation, p, minor), ""
	}
	m.held[p.SourceAccount] -= p.Amount.Minor
	p.status = StatusCanceled
	if r.operation == operationCapture {
		m.capture(p, minor)
	}
	return "200", ""
}

func (m *model) giveBack(key string, p *modelPayment, minor int64) string {
	switch {
	case !m.covers(p.DestinationAccount, minor):
		return "402"
	case p.PaymentMethod != "":
		p.refunding += minor
		m.held[p.DestinationAccount] += minor
		return m.ask(key, operationRefund, p, minor)
	}
	return m.refund(p, minor)
}

func (m *model) refund(p *modelPayment, minor int64) string {
	p.refunded += minor
	m.balances[p.DestinationAccount] -= minor
	m.balances[p.SourceAccount] += minor
	return "201"
}
