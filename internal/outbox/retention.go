package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// DeleteExpired deletes events that are older than the retention by the database's
// clock: of each merchant up to limit, the oldest first. It returns how many. Zero means
// that none is left.
func DeleteExpired(
	ctx context.Context, pool *pgxpool.Pool, retention time.Duration, limit int,
) (deleted int, err error) {
	merchants, err := haveExpired(ctx, pool, retention)
	if err != nil {
		return 0, fmt.Errorf("looking for old events: %w", err)
	}
	for _, id := range merchants {
		n, err := deleteOldest(ctx, pool, id, retention, limit)
		if err != nil {
			return deleted, fmt.Errorf("deleting old events: %w", err)
		}
		deleted += n
	}
	return deleted, nil
}

// haveExpired are the merchants whose oldest event is older than the retention.
func haveExpired(
	ctx context.Context, pool *pgxpool.Pool, retention time.Duration,
) (expired []int64, err error) {
	rows, err := pool.Query(ctx, `SELECT id FROM merchants`)
	if err != nil {
		return nil, err
	}
	merchants, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, err
	}
	q := &pgx.Batch{}
	for _, id := range merchants {
		q.Queue(`
			SELECT created_at < clock_timestamp() - $2::interval
			FROM events
			WHERE merchant_id = $1 AND transaction_id < pg_snapshot_xmin(pg_current_snapshot())
			ORDER BY transaction_id, id
			LIMIT 1`, id, retention,
		).Query(func(rows pgx.Rows) error {
			var old bool
			_, err := pgx.ForEachRow(rows, []any{&old}, func() error {
				if old {
					expired = append(expired, id)
				}
				return nil
			})
			return err
		})
	}
	return expired, pool.SendBatch(ctx, q).Close()
}

// deleteOldest deletes events from the beginning of a merchant's feed, and moves the
// horizon in the same transaction. It stops at the first event that is to be kept, and
// below the oldest running transaction. So nothing ever comes to lie below the horizon.
// What it deletes is one range of the primary key.
func deleteOldest(
	ctx context.Context, pool *pgxpool.Pool, merchantID int64, retention time.Duration, limit int,
) (deleted int, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		last, latest, err := lastExpired(ctx, tx, merchantID, retention, limit)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // another instance was faster
		}
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `
			DELETE FROM events
			WHERE merchant_id = $1 AND (transaction_id, id) <= ($2, $3)`,
			merchantID, last.TransactionID, last.ID)
		if err != nil {
			return err
		}
		deleted = int(tag.RowsAffected())
		_, err = tx.Exec(ctx, `
			INSERT INTO event_horizons AS h (merchant_id, transaction_id, event_id, created_before)
			VALUES ($1, $2, $3, $4::timestamptz + interval '1 microsecond')
			ON CONFLICT (merchant_id) DO UPDATE
			SET transaction_id = excluded.transaction_id, event_id = excluded.event_id,
				created_before = greatest(h.created_before, excluded.created_before)
			WHERE (h.transaction_id, h.event_id) < (excluded.transaction_id, excluded.event_id)`,
			merchantID, last.TransactionID, last.ID, latest)
		return err
	})
	return deleted, err
}

// lastExpired is the last event to be deleted, and the latest time of all of them.
func lastExpired(
	ctx context.Context, tx pgx.Tx, merchantID int64, retention time.Duration, limit int,
) (last Position, latest time.Time, err error) {
	q := &pgx.Batch{}
	q.Queue(postgres.InIndexOrder)
	q.Queue(`
		WITH oldest AS (
			SELECT e.transaction_id, e.id, e.created_at,
				bool_and(e.created_at < clock_timestamp() - $2::interval)
					OVER (ORDER BY e.transaction_id, e.id) AS expired
			FROM (
				SELECT e.transaction_id, e.id, e.created_at
				FROM events e
				WHERE e.merchant_id = $1
					AND e.transaction_id < pg_snapshot_xmin(pg_current_snapshot())
				ORDER BY e.transaction_id, e.id
				LIMIT $3) e)
		SELECT o.transaction_id, o.id, max(o.created_at) OVER ()
		FROM oldest o
		WHERE o.expired
		ORDER BY o.transaction_id DESC, o.id DESC
		LIMIT 1`, merchantID, retention, limit,
	).QueryRow(func(row pgx.Row) error {
		return row.Scan(&last.TransactionID, (*[16]byte)(&last.ID), &latest)
	})
	return last, latest, tx.SendBatch(ctx, q).Close()
}
