package payments

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// model is what the contract says about a merchant, in a few lines and without a
// database.
type model struct {
	balances, held map[string]int64
	keys           map[string]answered
	payments       []*modelPayment // in the order of their making
}

type answered struct {
	request string
	status  int
}

type modelPayment struct {
	Charge
	id                 uuid.UUID
	status             Status
	captured, refunded int64
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
}

func drawRequest(t *rapid.T, m *model) request {
	r := request{operation: rapid.SampledFrom([]string{
		operationCharge, operationCharge, operationCapture, operationCancel, operationRefund,
		operationRefund,
	}).Draw(t, "operation")}
	if r.operation == operationCharge || len(m.payments) == 0 {
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
		limit = p.captured - p.refunded
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
	amount := "all"
	if r.amount != nil {
		amount = fmt.Sprint(*r.amount)
	}
	return fmt.Sprintf("%s %s of %s", r.operation, amount, FormatID(r.payment))
}

func (r request) send(ctx context.Context, s *Service, caller Caller) (Reply, error) {
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
	if before, taken := m.keys[key]; taken {
		if before.request != r.String() {
			return "refused: idempotency_key_reused"
		}
		return fmt.Sprintf("%d replayed", before.status)
	}
	var status int
	var refusal Code
	switch r.operation {
	case operationCharge:
		status, refusal = m.charge(r.charge, made)
	default:
		status, refusal = m.change(r)
	}
	if refusal != "" {
		return "refused: " + string(refusal)
	}
	m.keys[key] = answered{r.String(), status}
	return fmt.Sprint(status)
}

func (m *model) charge(c Charge, id uuid.UUID) (status int, refusal Code) {
	_, sourceExists := m.balances[c.SourceAccount]
	switch {
	case c.Amount.Minor < 1, c.SourceAccount == c.DestinationAccount:
		return 0, CodeUnprocessable
	case !sourceExists && c.SourceAccount != "world":
		return 0, CodeAccountNotFound
	}
	for _, p := range m.payments {
		if c.Reference != "" && p.Reference == c.Reference && p.status != StatusDeclined &&
			p.status != StatusCanceled {
			return 0, CodeDuplicateReference
		}
	}
	p := &modelPayment{Charge: c, id: id}
	m.payments = append(m.payments, p)
	if !m.covers(c.SourceAccount, c.Amount.Minor) {
		p.status = StatusDeclined
		return 402, ""
	}
	if c.AuthorizeOnly {
		p.status = StatusAuthorized
		m.held[c.SourceAccount] += c.Amount.Minor
		return 201, ""
	}
	m.capture(p, c.Amount.Minor)
	return 201, ""
}

func (m *model) covers(account string, minor int64) bool {
	return account == "world" || m.balances[account]-m.held[account] >= minor
}

func (m *model) capture(p *modelPayment, minor int64) {
	p.status, p.captured = StatusSucceeded, minor
	m.balances[p.SourceAccount] -= minor
	m.balances[p.DestinationAccount] += minor
}

func (m *model) change(r request) (status int, refusal Code) {
	if r.amount != nil && *r.amount < 1 {
		return 0, CodeUnprocessable
	}
	var p *modelPayment
	for _, candidate := range m.payments {
		if candidate.id == r.payment {
			p = candidate
		}
	}
	if p == nil {
		return 0, CodeNotFound
	}
	needs, most := StatusAuthorized, p.Amount.Minor
	if r.operation == operationRefund {
		needs, most = StatusSucceeded, p.captured-p.refunded
	}
	minor := most
	if r.amount != nil {
		minor = *r.amount
	}
	switch {
	case p.status != needs:
		return 0, CodeInvalidState
	case minor > most, minor == 0:
		return 0, CodeAmountTooLarge
	}
	if r.operation == operationRefund {
		return m.refund(p, minor), ""
	}
	m.held[p.SourceAccount] -= p.Amount.Minor
	p.status = StatusCanceled
	if r.operation == operationCapture {
		m.capture(p, minor)
	}
	return 200, ""
}

func (m *model) refund(p *modelPayment, minor int64) (status int) {
	if !m.covers(p.DestinationAccount, minor) {
		return 402
	}
	p.refunded += minor
	m.balances[p.DestinationAccount] -= minor
	m.balances[p.SourceAccount] += minor
	return 201
}
