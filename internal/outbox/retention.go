package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// merchantsAtOnce is how many merchants one call of DeleteExpired looks after.
const merchantsAtOnce = 100

// DeleteExpired deletes events that are older than the retention by the database's
// clock: of each of some merchants up to limit, the oldest first. It returns how many.
// Zero means that none is left.
func DeleteExpired(
	ctx context.Context, db postgres.Querier, retention time.Duration, limit int,
) (deleted int, err error) {
	rows, err := db.Query(ctx, `
		SELECT m.id
		FROM merchants m
		CROSS JOIN LATERAL (
			SELECT e.created_at
			FROM events e
			WHERE e.merchant_id = m.id
				AND e.transaction_id < pg_snapshot_xmin(pg_current_snapshot())
			ORDER BY e.transaction_id, e.id
			LIMIT 1) oldest
		WHERE oldest.created_at < clock_timestamp() - $1::interval
		LIMIT $2`, retention, merchantsAtOnce)
	if err != nil {
		return 0, fmt.Errorf("looking for old events: %w", err)
	}
	merchants, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return 0, fmt.Errorf("looking for old events: %w", err)
	}
	for _, id := range merchants {
		n, err := deleteOldest(ctx, db, id, retention, limit)
		if err != nil {
			return deleted, err
		}
		deleted += n
	}
	return deleted, nil
}

// deleteOldest deletes events from the beginning of a merchant's feed, and moves the
// horizon in the same statement. It stops at the first event that is to be kept, and
// below the oldest running transaction. So nothing ever comes to lie below the horizon.
// What it deletes is one range of the primary key.
func deleteOldest(
	ctx context.Context, db postgres.Querier, merchantID int64, retention time.Duration, limit int,
) (deleted int, err error) {
	q := &pgx.Batch{}
	q.Queue(postgres.InIndexOrder)
	q.Queue(`
		WITH oldest AS (
			SELECT e.transaction_id, e.id,
				bool_and(e.created_at < clock_timestamp() - $2::interval)
					OVER (ORDER BY e.transaction_id, e.id) AS expired
			FROM (
				SELECT e.transaction_id, e.id, e.created_at
				FROM events e
				WHERE e.merchant_id = $1
					AND e.transaction_id < pg_snapshot_xmin(pg_current_snapshot())
				ORDER BY e.transaction_id, e.id
				LIMIT $3) e),
		last AS (
			SELECT o.transaction_id, o.id
			FROM oldest o
			WHERE o.expired
			ORDER BY o.transaction_id DESC, o.id DESC
			LIMIT 1),
		deleted AS (
			DELETE FROM events e
			WHERE e.merchant_id = $1 AND (e.transaction_id, e.id)
				<= ((SELECT last.transaction_id FROM last), (SELECT last.id FROM last))
			RETURNING e.transaction_id, e.id, e.created_at),
		moved AS (
			INSERT INTO event_horizons AS h (merchant_id, transaction_id, event_id, created_before)
			SELECT $1, last.transaction_id, last.id, made.latest + interval '1 microsecond'
			FROM last, (SELECT max(created_at) AS latest FROM deleted) made
			WHERE made.latest IS NOT NULL
			ON CONFLICT ON CONSTRAINT event_horizons_pkey DO UPDATE
			SET transaction_id = excluded.transaction_id, event_id = excluded.event_id,
				created_before = greatest(h.created_before, excluded.created_before)
			WHERE (h.transaction_id, h.event_id) < (excluded.transaction_id, excluded.event_id))
		SELECT count(*) FROM deleted`, merchantID, retention, limit,
	).QueryRow(func(row pgx.Row) error { return row.Scan(&deleted) })
	if err := db.SendBatch(ctx, q).Close(); err != nil {
		return 0, fmt.Errorf("deleting old events: %w", err)
	}
	return deleted, nil
}
