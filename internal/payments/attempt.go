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

// operationAuthorize is what the processor is asked for by a charge whose money is
// captured later. The key of such a charge is one of operationCharge.
const operationAuthorize = "authorize"

// attempt is one keyed request whose effect is at a card processor. Its row is written
// by the transaction that claims the key. Package cards asks the processor, and the
// settlement ends the attempt.
type attempt struct {
	attemptRef
	operation string
	paymentID uuid.UUID
	refundID  uuid.UUID // zero: it is no refund
	requestID uuid.UUID // that claimed the key, and is answered in the end
	minor     int64     // that is to be charged, captured or refunded
	dueAt     time.Time // when any instance may take the attempt over

	settled bool
	token   int64 // of the latest lease
}

// attemptRef names one attempt of one merchant.
type attemptRef struct {
	merchantID int64
	id         uuid.UUID
}

// attemptID names the attempt of a key. It is made of the key alone: if a backup is
// restored, a retry is the same attempt, and the processor recognises it. It is a UUID of
// version 8 (RFC 9562, section 5.8). Never change it.
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
	if claim.Scope == idempotency.ScopeClient { // its instance goes on at once
		begun.dueAt = st.clock.Add(st.attemptLease)
	}
	return begun
}

// ask begins the attempt of an operation on an authorized card payment. Until it ends,
// nothing else can be asked.
func (st *state) ask(claim *idempotency.Claim, payment *Payment, minor int64) decision {
	payment.PendingOperation = claim.Operation
	st.save(payment)
	return decision{payment: payment, begun: st.begin(claim, claim.Operation, payment, minor)}
}

// cards is what a batch decided about attempts, to be written.
type cards struct {
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

// begin notes a new attempt. Its key stands for a request that is still worked on.
func (c *cards) begin(op *operation, begun *attempt) *idempotency.Record {
	c.begun = append(c.begun, begun)
	c.pending = append(c.pending, &op.claim)
	return &idempotency.Record{Claim: op.claim, Pending: true}
}

// settle notes the end of an attempt, and returns the answer to its request.
func (c *cards) settle(d *decision, body []byte, now time.Time) *idempotency.Record {
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

func (c *cards) write(q *pgx.Batch, now time.Time) {
	idempotency.QueuePending(q, c.pending, now)
	queueAttempts(q, c.begun, now)
	queueSettled(q, c.settled, now)
	queueSettledRefunds(q, c.refunds)
	idempotency.QueueNoLongerPending(q, c.answered)
	queueApplied(q, c.applied)
}
