package idempotency

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/paymentsvc/paymentsvc/internal/unnest"
)

// The Queue functions queue a statement on a round trip of the caller's transaction.
// They never commit. A map that one of them returns is filled when the round trip has
// been made.

// QueueClaims inserts the claims. It returns the request ids of those that got their
// key.
//
// A claim waits for an unfinished transaction that has claimed the same key. A claim
// whose key is taken is left out. The keys of one call must differ. They are claimed in
// the order of the key, so that two batches that share keys queue up instead of
// deadlocking.
func QueueClaims(q *pgx.Batch, claims []*Claim) map[uuid.UUID]bool {
	claimed := make(map[uuid.UUID]bool, len(claims))
	q.Queue(`
		INSERT INTO idempotency_keys
			(merchant_id, scope, key, operation, fingerprint, fingerprint_version, request_id,
				payment_id)
		SELECT c.merchant_id, c.scope, c.key, c.operation, c.fingerprint, $8::smallint,
			c.request_id, c.payment_id
		FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::uuid[],
				$7::uuid[])
			AS c (merchant_id, scope, key, operation, fingerprint, request_id, payment_id)
		ORDER BY c.merchant_id, c.scope COLLATE "C", c.key COLLATE "C"
		ON CONFLICT (merchant_id, scope, key) DO NOTHING
		RETURNING request_id`,
		unnest.Column(claims, func(c *Claim) int64 { return c.MerchantID }),
		unnest.Column(claims, func(c *Claim) string { return string(c.Scope) }),
		unnest.Column(claims, func(c *Claim) string { return c.Value }),
		unnest.Column(claims, func(c *Claim) string { return c.Operation }),
		unnest.Column(claims, func(c *Claim) []byte { return c.Fingerprint.Sum[:] }),
		unnest.Column(claims, func(c *Claim) [16]byte { return c.RequestID }),
		unnest.Column(claims, func(c *Claim) [16]byte { return c.PaymentID }),
		FingerprintVersion,
	).Query(func(rows pgx.Rows) error {
		var id uuid.UUID
		_, err := pgx.ForEachRow(rows, []any{(*[16]byte)(&id)}, func() error {
			claimed[id] = true
			return nil
		})
		if err != nil {
			return fmt.Errorf("claiming keys: %w", err)
		}
		return nil
	})
	return claimed
}

// QueueRelease takes back claims of this same transaction: their requests are refused,
// and their keys stay free. Rivals that wait for a key then claim it themselves.
func QueueRelease(q *pgx.Batch, claims []*Claim) {
	if len(claims) == 0 {
		return
	}
	q.Queue(`
		DELETE FROM idempotency_keys k
		USING unnest($1::bigint[], $2::text[], $3::text[], $4::uuid[])
			AS c (merchant_id, scope, key, request_id)
		CROSS JOIN LATERAL (
			SELECT l.ctid FROM idempotency_keys l
			WHERE l.merchant_id = coalesce($5, c.merchant_id) AND l.scope = c.scope
				AND l.key = c.key AND l.request_id = c.request_id
			OFFSET 0) AS own
		WHERE k.merchant_id = coalesce($5, k.merchant_id) AND k.ctid = own.ctid`,
		unnest.Column(claims, func(c *Claim) int64 { return c.MerchantID }),
		unnest.Column(claims, func(c *Claim) string { return string(c.Scope) }),
		unnest.Column(claims, func(c *Claim) string { return c.Value }),
		unnest.Column(claims, func(c *Claim) [16]byte { return c.RequestID }),
		unnest.Shared(claims, func(c *Claim) int64 { return c.MerchantID }))
}

// QueueRecords reads what the keys stand for. It must come after the claims, as a
// statement of its own: a statement that had to wait for a rival does not see the
// rival's row, but the next one does.
func QueueRecords(q *pgx.Batch, keys []Key) map[Key]*Record {
	records := make(map[Key]*Record, len(keys))
	if len(keys) == 0 {
		return records
	}
	q.Queue(recordsSQL,
		unnest.Column(keys, func(k Key) int64 { return k.MerchantID }),
		unnest.Column(keys, func(k Key) string { return string(k.Scope) }),
		unnest.Column(keys, func(k Key) string { return k.Value }),
		unnest.Shared(keys, func(k Key) int64 { return k.MerchantID }),
	).Query(func(rows pgx.Rows) error {
		if err := collectRecords(rows, records); err != nil {
			return fmt.Errorf("reading the records of taken keys: %w", err)
		}
		return nil
	})
	return records
}

const recordsSQL = `
	SELECT k.merchant_id, k.scope, k.key, k.operation, k.fingerprint, k.fingerprint_version,
		k.request_id, k.payment_id, a.status, a.location, a.body, a.created_at,
		q.request_id IS NOT NULL
	FROM unnest($1::bigint[], $2::text[], $3::text[]) AS wanted (merchant_id, scope, key)
	CROSS JOIN LATERAL (
		SELECT k.merchant_id, k.scope, k.key, k.operation, k.fingerprint, k.fingerprint_version,
			k.request_id, k.payment_id
		FROM idempotency_keys k
		WHERE k.merchant_id = coalesce($4, wanted.merchant_id) AND k.scope = wanted.scope
			AND k.key = wanted.key
		OFFSET 0) AS k
	LEFT JOIN LATERAL (
		SELECT a.status, a.location, a.body, a.created_at
		FROM idempotency_answers a
		WHERE a.merchant_id = coalesce($4, k.merchant_id) AND a.request_id = k.request_id
		OFFSET 0) AS a ON true
	LEFT JOIN LATERAL (
		SELECT q.request_id
		FROM idempotency_pending q
		WHERE q.merchant_id = coalesce($4, k.merchant_id) AND q.request_id = k.request_id
		OFFSET 0) AS q ON true`

func collectRecords(rows pgx.Rows, into map[Key]*Record) error {
	_, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		var r Record
		var sum, body []byte
		var status *int // these are NULL while there is no answer
		var location *string
		var answeredAt *time.Time
		if err := row.Scan(&r.MerchantID, &r.Scope, &r.Value, &r.Operation, &sum,
			&r.Fingerprint.Version, &r.RequestID, &r.PaymentID,
			&status, &location, &body, &answeredAt, &r.Pending); err != nil {
			return struct{}{}, err
		}
		copy(r.Fingerprint.Sum[:], sum)
		if status != nil {
			r.Answer = &Answer{Status: *status, Location: *location, Body: body}
			r.AnsweredAt = *answeredAt
		}
		into[r.Key] = &r
		return struct{}{}, nil
	})
	return err
}

// QueueAnswers stores the answers of claims that this transaction holds. at is the
// transaction's timestamp, from which the retention is counted.
func QueueAnswers(q *pgx.Batch, records []*Record, at time.Time) {
	if len(records) == 0 {
		return
	}
	q.Queue(`
		INSERT INTO idempotency_answers
			(merchant_id, request_id, status, location, body, created_at)
		SELECT a.merchant_id, a.request_id, a.status, a.location, a.body, $6::timestamptz
		FROM unnest($1::bigint[], $2::uuid[], $3::smallint[], $4::text[], $5::bytea[])
			AS a (merchant_id, request_id, status, location, body)`,
		unnest.Column(records, func(r *Record) int64 { return r.MerchantID }),
		unnest.Column(records, func(r *Record) [16]byte { return r.RequestID }),
		unnest.Column(records, func(r *Record) int16 {
			return int16(r.Answer.Status) //nolint:gosec // an HTTP status
		}),
		unnest.Column(records, func(r *Record) string { return r.Answer.Location }),
		unnest.Column(records, func(r *Record) []byte { return r.Answer.Body }),
		at)
}

// QueuePending marks claims of this transaction: their requests go to a card processor,
// and are answered by a later transaction. at is the transaction's timestamp.
func QueuePending(q *pgx.Batch, claims []*Claim, at time.Time) {
	if len(claims) == 0 {
		return
	}
	q.Queue(`
		INSERT INTO idempotency_pending (merchant_id, request_id, created_at)
		SELECT p.merchant_id, p.request_id, $3::timestamptz
		FROM unnest($1::bigint[], $2::uuid[]) AS p (merchant_id, request_id)`,
		unnest.Column(claims, func(c *Claim) int64 { return c.MerchantID }),
		unnest.Column(claims, func(c *Claim) [16]byte { return c.RequestID }),
		at)
}

// QueueNoLongerPending takes the marks away again, in the transaction that stores the
// answers.
func QueueNoLongerPending(q *pgx.Batch, records []*Record) {
	if len(records) == 0 {
		return
	}
	q.Queue(`
		DELETE FROM idempotency_pending p
		USING unnest($1::bigint[], $2::uuid[]) AS done (merchant_id, request_id)
		CROSS JOIN LATERAL (
			SELECT l.ctid FROM idempotency_pending l
			WHERE l.merchant_id = coalesce($3, done.merchant_id)
				AND l.request_id = done.request_id
			OFFSET 0) AS own
		WHERE p.merchant_id = coalesce($3, p.merchant_id) AND p.ctid = own.ctid`,
		unnest.Column(records, func(r *Record) int64 { return r.MerchantID }),
		unnest.Column(records, func(r *Record) [16]byte { return r.RequestID }),
		unnest.Shared(records, func(r *Record) int64 { return r.MerchantID }))
}

// Find reads what one key stands for, and the database's clock. The record is nil if
// the key is free.
func Find(
	ctx context.Context, conn *pgx.Conn, key Key,
) (record *Record, now time.Time, err error) {
	q := &pgx.Batch{}
	records := QueueRecords(q, []Key{key})
	q.Queue(`SELECT clock_timestamp()`).QueryRow(func(row pgx.Row) error { return row.Scan(&now) })
	if err := conn.SendBatch(ctx, q).Close(); err != nil {
		return nil, time.Time{}, fmt.Errorf("looking up a key: %w", err)
	}
	return records[key], now, nil
}

// Reap deletes up to limit answers that are older than retention by the database's
// clock, and returns how many. Fewer than limit means that none is left. Keys stay.
func Reap(ctx context.Context, db database, retention time.Duration, limit int) (int, error) {
	// The mark tells the audit a reaped answer from one that was never written. It
	// never goes back. What is deleted follows the clock alone. So a clock that once
	// was ahead costs no answer that is written after it was set right.
	var before time.Time
	err := db.QueryRow(ctx, `
		UPDATE idempotency_reaper
		SET answers_before = greatest(answers_before, clock_timestamp() - $1::interval)
		RETURNING clock_timestamp() - $1::interval`, retention).Scan(&before)
	if err != nil {
		return 0, fmt.Errorf("marking what is reaped: %w", err)
	}
	// A request's id carries its time, which is before that of its answer. So old
	// answers lie at the left of each merchant's part of the primary key, and no index
	// on created_at is needed, which every charge would pay for. An instance whose
	// clock is wrong by an hour makes ids that are wrong by an hour. created_at is the
	// database's and decides, so such answers are reaped that much later, and never
	// earlier. The search names all merchants, because the key begins with the
	// merchant.
	rows, err := db.Query(ctx, `
		SELECT merchant_id, request_id
		FROM idempotency_answers
		WHERE merchant_id = ANY (ARRAY(SELECT id FROM merchants))
			AND request_id < $2 AND created_at < $1
		LIMIT $3`, before, FirstID(before), limit)
	if err != nil {
		return 0, fmt.Errorf("looking for old answers: %w", err)
	}
	old := map[int64][][16]byte{}
	var merchantID int64
	var requestID [16]byte
	if _, err := pgx.ForEachRow(rows, []any{&merchantID, &requestID}, func() error {
		old[merchantID] = append(old[merchantID], requestID)
		return nil
	}); err != nil {
		return 0, fmt.Errorf("looking for old answers: %w", err)
	}
	reaped := 0
	for merchantID, requestIDs := range old {
		tag, err := db.Exec(ctx, `
			DELETE FROM idempotency_answers
			WHERE merchant_id = $1 AND request_id = ANY ($2)`, merchantID, requestIDs)
		if err != nil {
			return reaped, fmt.Errorf("reaping answers: %w", err)
		}
		reaped += int(tag.RowsAffected())
	}
	return reaped, nil
}

// database is a pool, a connection or a transaction.
type database interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// FirstID is below every UUID of version 7 that is made at that time or later: its
// first 48 bits are the milliseconds since 1970 (RFC 9562, section 5.7).
func FirstID(at time.Time) (id [16]byte) {
	milliseconds := uint64(max(at.UnixMilli(), 0))
	binary.BigEndian.PutUint64(id[:8], milliseconds<<16)
	return id
}
