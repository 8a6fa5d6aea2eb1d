package payments

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/unnest"
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
	if claim.Scope == idempotency.ScopeClient { // its caller waits, and its instance goes on at once
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

// queueLockAttempts locks the attempts that are to be settled, ascending. Only leases of
// them, which are short, hold these rows.
func queueLockAttempts(q *pgx.Batch, operations []*operation) map[attemptRef]*attempt {
	wanted := map[attemptRef]bool{}
	for _, op := range operations {
		if op.attempt != (attemptRef{}) {
			wanted[op.attempt] = true
		}
	}
	locked := make(map[attemptRef]*attempt, len(wanted))
	if len(wanted) == 0 {
		return locked
	}
	refs := slices.Collect(maps.Keys(wanted))
	q.Queue(`
		SELECT a.merchant_id, a.id, a.operation, a.payment_id, a.refund_id, a.request_id,
			a.amount, a.state = 'settled', a.token
		FROM (
			SELECT w.merchant_id, w.id
			FROM unnest($1::bigint[], $2::uuid[]) AS w (merchant_id, id)
			ORDER BY w.merchant_id, w.id) AS wanted
		CROSS JOIN LATERAL (
			SELECT a.merchant_id, a.id, a.operation, a.payment_id, a.refund_id, a.request_id,
				a.amount, a.state, a.token
			FROM processor_attempts a
			WHERE a.merchant_id = wanted.merchant_id AND a.id = wanted.id
			FOR NO KEY UPDATE) AS a`,
		unnest.Column(refs, func(r attemptRef) int64 { return r.merchantID }),
		unnest.Column(refs, func(r attemptRef) [16]byte { return r.id }),
	).Query(func(rows pgx.Rows) error {
		_, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
			var a attempt
			var refundID *uuid.UUID
			err := row.Scan(&a.merchantID, &a.id, &a.operation, &a.paymentID, &refundID,
				&a.requestID, &a.minor, &a.settled, &a.token)
			if refundID != nil {
				a.refundID = *refundID
			}
			locked[a.attemptRef] = &a
			return struct{}{}, err
		})
		if err != nil {
			return fmt.Errorf("locking attempts: %w", err)
		}
		return nil
	})
	return locked
}

// queueAttemptedRefunds reads the refunds of the locked attempts. Only the settlement of
// an attempt changes its refund.
func queueAttemptedRefunds(
	q *pgx.Batch, attempts map[attemptRef]*attempt,
) map[uuid.UUID]*Refund {
	refunds := map[uuid.UUID]*Refund{}
	var wanted []*attempt
	for _, a := range attempts {
		if a.refundID != (uuid.UUID{}) {
			wanted = append(wanted, a)
		}
	}
	if len(wanted) == 0 {
		return refunds
	}
	q.Queue(`
		SELECT `+refundColumns+`
		FROM unnest($1::bigint[], $2::uuid[], $3::uuid[]) AS wanted (merchant_id, payment_id, id)
		CROSS JOIN LATERAL (
			SELECT r.merchant_id, r.id, r.payment_id, r.amount, r.status, r.decline_code, r.reason,
				r.created_at
			FROM refunds r
			WHERE r.merchant_id = wanted.merchant_id AND r.payment_id = wanted.payment_id
				AND r.id = wanted.id
			OFFSET 0) AS r
		CROSS JOIN LATERAL (
			SELECT p.currency FROM payments p
			WHERE p.merchant_id = r.merchant_id AND p.id = r.payment_id
			OFFSET 0) AS p`,
		unnest.Column(wanted, func(a *attempt) int64 { return a.merchantID }),
		unnest.Column(wanted, func(a *attempt) [16]byte { return a.paymentID }),
		unnest.Column(wanted, func(a *attempt) [16]byte { return a.refundID }),
	).Query(func(rows pgx.Rows) error {
		found, err := pgx.CollectRows(rows, scanRefund)
		if err != nil {
			return fmt.Errorf("reading the refunds of attempts: %w", err)
		}
		for _, r := range found {
			refunds[r.ID] = r
		}
		return nil
	})
	return refunds
}

func queueAttempts(q *pgx.Batch, begun []*attempt, at time.Time) {
	if len(begun) == 0 {
		return
	}
	q.Queue(`
		INSERT INTO processor_attempts (merchant_id, id, operation, payment_id, refund_id,
			request_id, amount, due_at, created_at)
		SELECT a.merchant_id, a.id, a.operation, a.payment_id, a.refund_id, a.request_id,
			a.amount, a.due_at, $9
		FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::uuid[],
				$7::bigint[], $8::timestamptz[])
			AS a (merchant_id, id, operation, payment_id, refund_id, request_id, amount, due_at)`,
		unnest.Column(begun, func(a *attempt) int64 { return a.merchantID }),
		unnest.Column(begun, func(a *attempt) [16]byte { return a.id }),
		unnest.Column(begun, func(a *attempt) string { return a.operation }),
		unnest.Column(begun, func(a *attempt) [16]byte { return a.paymentID }),
		unnest.Column(begun, func(a *attempt) *uuid.UUID { return unnest.Nullable(a.refundID) }),
		unnest.Column(begun, func(a *attempt) [16]byte { return a.requestID }),
		unnest.Column(begun, func(a *attempt) int64 { return a.minor }),
		unnest.Column(begun, func(a *attempt) time.Time { return a.dueAt }),
		at)
}

func queueSettled(q *pgx.Batch, settled []*attempt, at time.Time) {
	if len(settled) == 0 {
		return
	}
	q.Queue(`
		UPDATE processor_attempts a
		SET state = 'settled', settled_at = $3
		FROM unnest($1::bigint[], $2::uuid[]) AS settled (merchant_id, id)
		CROSS JOIN LATERAL (
			SELECT l.ctid FROM processor_attempts l
			WHERE l.merchant_id = settled.merchant_id AND l.id = settled.id
			OFFSET 0) AS locked
		WHERE a.ctid = locked.ctid`,
		unnest.Column(settled, func(a *attempt) int64 { return a.merchantID }),
		unnest.Column(settled, func(a *attempt) [16]byte { return a.id }),
		at)
}

func queueSettledRefunds(q *pgx.Batch, refunds []*Refund) {
	if len(refunds) == 0 {
		return
	}
	q.Queue(`
		UPDATE refunds r
		SET status = settled.status, decline_code = settled.decline_code
		FROM unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::text[], $5::text[])
			AS settled (merchant_id, payment_id, id, status, decline_code)
		CROSS JOIN LATERAL (
			SELECT l.ctid FROM refunds l
			WHERE l.merchant_id = settled.merchant_id AND l.payment_id = settled.payment_id
				AND l.id = settled.id
			OFFSET 0) AS locked
		WHERE r.ctid = locked.ctid`,
		unnest.Column(refunds, func(r *Refund) int64 { return r.MerchantID }),
		unnest.Column(refunds, func(r *Refund) [16]byte { return r.PaymentID }),
		unnest.Column(refunds, func(r *Refund) [16]byte { return r.ID }),
		unnest.Column(refunds, func(r *Refund) string { return string(r.Status) }),
		unnest.Column(refunds, func(r *Refund) *string { return unnest.Nullable(r.DeclineCode) }))
}

// queueApplied deletes the events from those that are kept for later.
func queueApplied(q *pgx.Batch, applied []appliedEvent) {
	if len(applied) == 0 {
		return
	}
	q.Queue(`
		DELETE FROM processor_events e
		USING unnest($1::bigint[], $2::text[]) AS applied (merchant_id, id)
		CROSS JOIN LATERAL (
			SELECT l.ctid FROM processor_events l
			WHERE l.merchant_id = applied.merchant_id AND l.id = applied.id
			OFFSET 0) AS kept
		WHERE e.ctid = kept.ctid`,
		unnest.Column(applied, func(e appliedEvent) int64 { return e.merchantID }),
		unnest.Column(applied, func(e appliedEvent) string { return e.id }))
}
