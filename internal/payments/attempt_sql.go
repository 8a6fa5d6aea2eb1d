package payments

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/unnest"
)

// The statements about attempts. A batch without cards queues none of them.

// queueLockAttempts locks the attempts that are to be settled, ascending. Other locks of
// these rows are short: package cards writes one row in a transaction.
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
			WHERE a.merchant_id = coalesce($3, wanted.merchant_id) AND a.id = wanted.id
			FOR NO KEY UPDATE) AS a`,
		unnest.Column(refs, func(r attemptRef) int64 { return r.merchantID }),
		unnest.Column(refs, func(r attemptRef) [16]byte { return r.id }),
		unnest.Shared(refs, func(r attemptRef) int64 { return r.merchantID }),
	).Query(func(rows pgx.Rows) error {
		found, err := pgx.CollectRows(rows, scanAttempt)
		if err != nil {
			return fmt.Errorf("locking attempts: %w", err)
		}
		for _, a := range found {
			locked[a.attemptRef] = a
		}
		return nil
	})
	return locked
}

func scanAttempt(row pgx.CollectableRow) (*attempt, error) {
	var a attempt
	var refundID *uuid.UUID
	err := row.Scan(&a.merchantID, &a.id, &a.operation, &a.paymentID, &refundID, &a.requestID,
		&a.minor, &a.settled, &a.token)
	if refundID != nil {
		a.refundID = *refundID
	}
	return &a, err
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
			WHERE r.merchant_id = coalesce($4, wanted.merchant_id)
				AND r.payment_id = wanted.payment_id AND r.id = wanted.id
			OFFSET 0) AS r
		CROSS JOIN LATERAL (
			SELECT p.currency FROM payments p
			WHERE p.merchant_id = coalesce($4, r.merchant_id) AND p.id = r.payment_id
			OFFSET 0) AS p`,
		unnest.Column(wanted, func(a *attempt) int64 { return a.merchantID }),
		unnest.Column(wanted, func(a *attempt) [16]byte { return a.paymentID }),
		unnest.Column(wanted, func(a *attempt) [16]byte { return a.refundID }),
		unnest.Shared(wanted, func(a *attempt) int64 { return a.merchantID }),
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
			a.amount, a.due_at, $9::timestamptz
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
			WHERE l.merchant_id = coalesce($4, settled.merchant_id) AND l.id = settled.id
			OFFSET 0) AS locked
		WHERE a.merchant_id = coalesce($4, a.merchant_id) AND a.ctid = locked.ctid`,
		unnest.Column(settled, func(a *attempt) int64 { return a.merchantID }),
		unnest.Column(settled, func(a *attempt) [16]byte { return a.id }),
		at, unnest.Shared(settled, func(a *attempt) int64 { return a.merchantID }))
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
			WHERE l.merchant_id = coalesce($6, settled.merchant_id)
				AND l.payment_id = settled.payment_id AND l.id = settled.id
			OFFSET 0) AS locked
		WHERE r.merchant_id = coalesce($6, r.merchant_id) AND r.ctid = locked.ctid`,
		unnest.Column(refunds, func(r *Refund) int64 { return r.MerchantID }),
		unnest.Column(refunds, func(r *Refund) [16]byte { return r.PaymentID }),
		unnest.Column(refunds, func(r *Refund) [16]byte { return r.ID }),
		unnest.Column(refunds, func(r *Refund) string { return string(r.Status) }),
		unnest.Column(refunds, func(r *Refund) *string { return unnest.Nullable(r.DeclineCode) }),
		unnest.Shared(refunds, func(r *Refund) int64 { return r.MerchantID }))
}

// queueApplied deletes the applied events from the kept ones.
func queueApplied(q *pgx.Batch, applied []appliedEvent) {
	if len(applied) == 0 {
		return
	}
	q.Queue(`
		DELETE FROM processor_events e
		USING unnest($1::bigint[], $2::text[]) AS applied (merchant_id, id)
		CROSS JOIN LATERAL (
			SELECT l.ctid FROM processor_events l
			WHERE l.merchant_id = coalesce($3, applied.merchant_id) AND l.id = applied.id
			OFFSET 0) AS kept
		WHERE e.merchant_id = coalesce($3, e.merchant_id) AND e.ctid = kept.ctid`,
		unnest.Column(applied, func(e appliedEvent) int64 { return e.merchantID }),
		unnest.Column(applied, func(e appliedEvent) string { return e.id }),
		unnest.Shared(applied, func(e appliedEvent) int64 { return e.merchantID }))
}
