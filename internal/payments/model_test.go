package payments

import (
	"slices"

	"github.com/google/uuid"
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

// settle applies a result, once.
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
