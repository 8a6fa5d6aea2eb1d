package idempotency

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The Queue functions queue a statement on a pipelined batch of somebody's transaction; they never commit.
//
// Here and elsewhere a statement that joins unnest also says merchant_id = ANY ($1). To Postgres that is redundant. Where
// the tables are sharded by merchant it is what sends the whole statement to one shard (Citus).

// QueueClaims inserts the claims and hands over the request ids of those that got their key. A claim whose key
// another, unfinished transaction has claimed waits for that transaction; a claim whose key is taken is left out.
//
// The keys of one call must differ. They are claimed in the order of the key, so that two batches that share keys queue
// up behind each other instead of deadlocking.
func QueueClaims(b *pgx.Batch, claims []Claim, claimed func(map[uuid.UUID]bool)) {
	c := columnsOf(claims)
	b.Queue(`
		INSERT INTO idempotency_keys
			(merchant_id, scope, key, operation, fingerprint, fingerprint_version, request_id, payment_id)
		SELECT c.merchant_id, c.scope, c.key, c.operation, c.fingerprint, c.fingerprint_version, c.request_id, c.payment_id
		FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::smallint[], $7::uuid[], $8::uuid[])
			AS c (merchant_id, scope, key, operation, fingerprint, fingerprint_version, request_id, payment_id)
		ORDER BY c.merchant_id, c.scope COLLATE "C", c.key COLLATE "C"
		ON CONFLICT (merchant_id, scope, key) DO NOTHING
		RETURNING request_id`,
		c.merchants, c.scopes, c.keys, c.operations, c.fingerprints, c.versions, c.requests, c.payments,
	).Query(func(rows pgx.Rows) error {
		ids := make(map[uuid.UUID]bool, len(claims))
		var id uuid.UUID
		_, err := pgx.ForEachRow(rows, []any{(*[16]byte)(&id)}, func() error {
			ids[id] = true
			return nil
		})
		if err != nil {
			return fmt.Errorf("claiming keys: %w", err)
		}
		claimed(ids)
		return nil
	})
}

// QueueRelease takes back claims of this same transaction, because their requests are refused and their keys stay
// free. Rivals that wait for a key then claim it themselves.
func QueueRelease(b *pgx.Batch, claims []Claim) {
	c := columnsOf(claims)
	b.Queue(`
		DELETE FROM idempotency_keys k
		USING unnest($1::bigint[], $2::text[], $3::text[], $4::uuid[]) AS c (merchant_id, scope, key, request_id)
		WHERE k.merchant_id = c.merchant_id AND k.scope = c.scope AND k.key = c.key AND k.request_id = c.request_id
			AND k.merchant_id = ANY ($1)`,
		c.merchants, c.scopes, c.keys, c.requests)
}

// QueueRecords reads what the keys stand for. It must come after the claims, as a statement of its own: a statement
// that had to wait for a rival does not see the rival's row, but the next one does.
func QueueRecords(b *pgx.Batch, keys []Key, found func(map[Key]*Record)) {
	merchants, scopes, values := make([]int64, len(keys)), make([]string, len(keys)), make([]string, len(keys))
	for i, key := range keys {
		merchants[i], scopes[i], values[i] = key.MerchantID, string(key.Scope), key.Value
	}
	b.Queue(recordsSQL, merchants, scopes, values).Query(func(rows pgx.Rows) error {
		records, err := collectRecords(rows)
		if err != nil {
			return fmt.Errorf("reading the records of taken keys: %w", err)
		}
		found(records)
		return nil
	})
}

const recordsSQL = `
	SELECT k.merchant_id, k.scope, k.key, k.operation, k.fingerprint, k.fingerprint_version, k.request_id, k.payment_id,
		a.status, a.location, a.body, a.created_at
	FROM unnest($1::bigint[], $2::text[], $3::text[]) AS wanted (merchant_id, scope, key)
	JOIN idempotency_keys k ON k.merchant_id = wanted.merchant_id AND k.scope = wanted.scope AND k.key = wanted.key
	LEFT JOIN idempotency_answers a ON a.merchant_id = k.merchant_id AND a.request_id = k.request_id
	WHERE k.merchant_id = ANY ($1)`

func collectRecords(rows pgx.Rows) (map[Key]*Record, error) {
	records := map[Key]*Record{}
	_, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		var r Record
		var sum, body []byte
		var status *int // these are NULL once the answer is reaped
		var location *string
		var answeredAt *time.Time
		if err := row.Scan(&r.MerchantID, &r.Scope, &r.Value, &r.Operation, &sum, &r.Fingerprint.Version, &r.RequestID,
			&r.PaymentID, &status, &location, &body, &answeredAt); err != nil {
			return struct{}{}, err
		}
		copy(r.Fingerprint.Sum[:], sum)
		if status != nil {
			r.Answer = &Answer{Status: *status, Location: *location, Body: body}
			r.AnsweredAt = *answeredAt
		}
		records[r.Key] = &r
		return struct{}{}, nil
	})
	return records, err
}

// QueueAnswers stores the answers of claims that this transaction holds. at is the transaction's now, from which the
// retention is counted.
func QueueAnswers(b *pgx.Batch, records []Record, at time.Time) {
	n := len(records)
	merchants, requests := make([]int64, n), make([][16]byte, n)
	statuses, locations, bodies := make([]int16, n), make([]string, n), make([][]byte, n)
	for i, r := range records {
		merchants[i], requests[i] = r.MerchantID, r.RequestID
		statuses[i], locations[i], bodies[i] = int16(r.Answer.Status), r.Answer.Location, r.Answer.Body //nolint:gosec // an HTTP status
	}
	b.Queue(`
		INSERT INTO idempotency_answers (merchant_id, request_id, status, location, body, created_at)
		SELECT a.merchant_id, a.request_id, a.status, a.location, a.body, $6
		FROM unnest($1::bigint[], $2::uuid[], $3::smallint[], $4::text[], $5::bytea[])
			AS a (merchant_id, request_id, status, location, body)`,
		merchants, requests, statuses, locations, bodies, at)
}

// Querier is a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Find reads what one key stands for, and the database's clock. The record is nil if the key is free.
func Find(ctx context.Context, db Querier, key Key) (record *Record, now time.Time, err error) {
	rows, err := db.Query(ctx, recordsSQL, []int64{key.MerchantID}, []string{string(key.Scope)}, []string{key.Value})
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("looking up a key: %w", err)
	}
	records, err := collectRecords(rows)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("looking up a key: %w", err)
	}
	if err := db.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now); err != nil {
		return nil, time.Time{}, fmt.Errorf("reading the database's clock: %w", err)
	}
	return records[key], now, nil
}

// Reap deletes up to limit answers that are older than retention by the database's clock, and returns how many; fewer
// than limit means that none is left. Keys stay. It notes how far it came, so that the audit knows the difference
// between an answer that was reaped and one that was never written.
func Reap(ctx context.Context, db Querier, retention time.Duration, limit int) (int, error) {
	// The mark never goes back; what is deleted follows the clock alone, so that a clock that once was ahead costs no
	// answer that is written after it was set right.
	var before time.Time
	err := db.QueryRow(ctx, `
		UPDATE idempotency_reaper
		SET answers_before = greatest(answers_before, clock_timestamp() - $1::interval)
		RETURNING clock_timestamp() - $1::interval`, retention).Scan(&before)
	if err != nil {
		return 0, fmt.Errorf("marking what is reaped: %w", err)
	}
	// The request's id carries the time of its request, which is before that of its answer: so what is old enough lies at the
	// left of each merchant's part of the primary key, and no index over created_at is needed. (Such an index would be
	// paid for by every charge; a BRIN one is cheap, but reads the whole table once deleted rows' space is used again.)
	// An instance whose clock is wrong by an hour makes ids that are wrong by an hour. created_at, which is the
	// database's, decides, so its answers are reaped that much later and never earlier.
	tag, err := db.Exec(ctx, `
		DELETE FROM idempotency_answers
		WHERE (merchant_id, request_id) IN (
			SELECT old.merchant_id, old.request_id
			FROM merchants m
			CROSS JOIN LATERAL (
				SELECT a.merchant_id, a.request_id
				FROM idempotency_answers a
				WHERE a.merchant_id = m.id AND a.request_id < $2 AND a.created_at < $1
				ORDER BY a.request_id
				LIMIT $3) old
			LIMIT $3)`, before, firstIDOf(before), limit)
	if err != nil {
		return 0, fmt.Errorf("reaping answers: %w", err)
	}
	return int(tag.RowsAffected()), nil
}

// firstIDOf is below every UUID of version 7 that is made at that time or later (RFC 9562, section 5.7: the first 48 bits are
// the milliseconds since 1970).
func firstIDOf(at time.Time) (id [16]byte) {
	milliseconds := uint64(max(at.UnixMilli(), 0))
	binary.BigEndian.PutUint64(id[:8], milliseconds<<16)
	return id
}

// columns are claims turned sideways, as unnest takes them. (Ids are [16]byte here: pgx encodes those without a detour
// through text.)
type columns struct {
	merchants          []int64
	scopes, keys       []string
	operations         []string
	fingerprints       [][]byte
	versions           []int16
	requests, payments [][16]byte
}

func columnsOf(claims []Claim) columns {
	n := len(claims)
	c := columns{
		make([]int64, n), make([]string, n), make([]string, n), make([]string, n),
		make([][]byte, n), make([]int16, n), make([][16]byte, n), make([][16]byte, n),
	}
	for i := range claims {
		claim := &claims[i]
		c.merchants[i], c.scopes[i], c.keys[i] = claim.MerchantID, string(claim.Scope), claim.Value
		c.operations[i], c.fingerprints[i], c.versions[i] = claim.Operation, claim.Fingerprint.Sum[:], claim.Fingerprint.Version
		c.requests[i], c.payments[i] = claim.RequestID, claim.PaymentID
	}
	return c
}
