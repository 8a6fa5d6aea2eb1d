package payments

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
)

// operationAuthorize is the operation of an attempt whose charge is captured later. The
// key of such a charge has operationCharge.
const operationAuthorize = "authorize"

// attempt is one keyed request whose effect is at a card processor. The transaction that
// claims the key inserts its row. Package cards asks the processor. The settlement
// writes the result.
type attempt struct {
	attemptRef
	operation string
	paymentID uuid.UUID
	refundID  uuid.UUID // zero: it is no refund
	requestID uuid.UUID // of the request that claimed the key: it gets the answer
	minor     int64     // the amount to charge, capture or refund
	dueAt     time.Time // when any instance may take the attempt over

	settled bool
	token   int64 // of the latest lease
}

// attemptRef names one attempt of one merchant.
type attemptRef struct {
	merchantID int64
	id         uuid.UUID
}

// attemptID is the id of a key's attempt. It is computed from the key alone. So after a
// backup was restored, a retry is the same attempt, and the processor recognises it. It
// is a UUID of version 8 (RFC 9562, section 5.8). Never change it.
func attemptID(key idempotency.Key) uuid.UUID {
	name := binary.BigEndian.AppendUint64(nil, uint64(key.MerchantID)) //nolint:gosec // positive
	name = fmt.Appendf(name, "%s %s", key.Scope, key.Value)
	return uuid.NewHash(sha256.New(), uuid.UUID{}, name, 8)
}

// begin makes the attempt of an operation that has claimed its key.
func (st *state) begin(
	claim *idempotency.Claim, operation string, payment *Payment, minor int64,
) *attempt {
	begun := &attempt{
		attemptRef: attemptRef{claim.MerchantID, attemptID(claim.Key)},
		operation:  operation,
		paymentID:  payment.ID,
		requestID:  claim.RequestID,
		minor:      minor,
		dueAt:      st.clock,
	}
	if claim.Scope == idempotency.ScopeClient { // the request's instance asks at once
		begun.dueAt = st.clock.Add(st.attemptLease)
	}
	return begun
}

// ask begins the attempt of an operation on an authorized card payment. Until it is
// settled, the payment refuses other operations.
func (st *state) ask(claim *idempotency.Claim, payment *Payment, minor int64) decision {
	payment.PendingOperation = claim.Operation
	st.save(payment)
	return decision{payment: payment, begun: st.begin(claim, claim.Operation, payment, minor)}
}

// attemptChanges is what a batch decided about attempts, to be written.
type attemptChanges struct {
	begun    []*attempt
	pending  []*idempotency.Claim
	settled  []*attempt
	refunds  []*Refund // as settled
	answered []*idempotency.Record
	applied  []appliedEvent
}

// appliedEvent is an event of the processor that this transaction applies.
type appliedEvent struct {
	merchantID int64
	id         string
}

// begin notes a new attempt. Its key is pending: it is taken, and has no answer yet.
func (c *attemptChanges) begin(op *operation, begun *attempt) *idempotency.Record {
	c.begun = append(c.begun, begun)
	c.pending = append(c.pending, &op.claim)
	return &idempotency.Record{Claim: op.claim, Pending: true}
}

// settle notes a settled attempt, and returns the record with the answer to its request.
func (c *attemptChanges) settle(d *decision, body []byte, now time.Time) *idempotency.Record {
	c.settled = append(c.settled, d.settled)
	if d.refund != nil {
		c.refunds = append(c.refunds, d.refund)
	}
	if d.eventID != "" {
		c.applied = append(c.applied, appliedEvent{d.settled.merchantID, d.eventID})
	}
	answer := d.answer(d.settled.operation, d.settled.requestID, body)
	record := &idempotency.Record{Answer: &answer, AnsweredAt: now}
	record.MerchantID, record.RequestID = d.settled.merchantID, d.settled.requestID
	c.answered = append(c.answered, record)
	return record
}

func (c *attemptChanges) write(q *pgx.Batch, now time.Time) {
	idempotency.QueuePending(q, c.pending, now)
	queueAttempts(q, c.begun, now)
	queueSettled(q, c.settled, now)
	queueSettledRefunds(q, c.refunds)
	idempotency.QueueNoLongerPending(q, c.answered)
	queueApplied(q, c.applied)
}
