package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// Consumer names a part of the service that handles every event once or more, and keeps a
// cursor for each merchant (the table feed_cursors).
type Consumer string

// The consumers.
const (
	Webhooks Consumer = "webhooks"
	NATS     Consumer = "nats"
)

// Cursor is how far a consumer has come in a merchant's feed.
type Cursor struct {
	MerchantID int64
	Consumer   Consumer
	At         Position
}

// merchantsDue finds the merchants whose cursors are free and have events to be handled.
const merchantsDue = `
	SELECT c.merchant_id FROM feed_cursors c
	WHERE c.consumer = $1 AND c.leased_until < statement_timestamp() AND ` + hasEvents + `
	ORDER BY c.leased_until
	LIMIT $2`

// hasEvents tells whether events come after a cursor c, or its id is of the future.
const hasEvents = `(
	c.transaction_id >= pg_snapshot_xmax(pg_current_snapshot())
	OR EXISTS (
		SELECT FROM events e
		WHERE e.merchant_id = c.merchant_id
			AND (e.transaction_id, e.id) > (c.transaction_id, c.event_id)
			AND e.transaction_id < pg_snapshot_xmin(pg_current_snapshot())))`

// Lease gives up to limit cursors, of merchants that have events to be handled, to the
// caller alone until the lease is over or Advance ends it. With an error, it may still
// have leased some.
//
// It passes over cursors that another instance has leased or locked. A cursor that names
// a transaction id of the future is given too: its database is an older copy of itself
// or came from another cluster, and Read says so.
func (f *Feed) Lease(
	ctx context.Context, consumer Consumer, lease time.Duration, limit int,
) (cursors []Cursor, err error) {
	err = postgres.EachMerchant(ctx, f.pool, f.sharded, merchantsDue, []any{consumer, limit},
		func(merchantID *int64) error {
			leased, err := f.lease(ctx, consumer, lease, limit-len(cursors), merchantID)
			cursors = append(cursors, leased...)
			return err
		})
	return cursors, err
}

// lease leases due cursors of all merchants, or that of one merchant. Of that one, the
// search has seen that it has events. This does not look again: Citus would call the
// functions of hasEvents on the coordinator, which has other transaction ids.
func (f *Feed) lease(
	ctx context.Context, consumer Consumer, lease time.Duration, limit int, merchantID *int64,
) (cursors []Cursor, err error) {
	q := &pgx.Batch{}
	q.Queue(postgres.NotDurable)
	q.Queue(`
		UPDATE feed_cursors c
		SET leased_until = statement_timestamp() + $2::interval
		FROM (
			SELECT c.merchant_id
			FROM feed_cursors c
			WHERE ($4::bigint IS NULL OR c.merchant_id = $4) AND c.consumer = $1
				AND c.leased_until < statement_timestamp()
				AND ($4 IS NOT NULL OR `+hasEvents+`)
			ORDER BY c.leased_until
			LIMIT $3
			FOR UPDATE SKIP LOCKED) AS due
		WHERE c.merchant_id = coalesce($4, due.merchant_id) AND c.consumer = $1
		RETURNING c.merchant_id, c.transaction_id, c.event_id`,
		consumer, lease, limit, merchantID,
	).Query(func(rows pgx.Rows) error {
		cursors, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Cursor, error) {
			c := Cursor{Consumer: consumer}
			err := row.Scan(&c.MerchantID, &c.At.TransactionID, (*[16]byte)(&c.At.ID))
			return c, err
		})
		return err
	})
	if err := f.pool.SendBatch(ctx, q).Close(); err != nil {
		return nil, fmt.Errorf("leasing cursors: %w", err)
	}
	return cursors, nil
}

// Read reads the next events. It returns ErrCursorLost if some are missing.
func (c *Cursor) Read(ctx context.Context, feed *Feed, limit int) (Page, error) {
	if c.At == (Position{}) {
		return feed.Read(ctx, c.MerchantID, nil, Filter{}, limit) // begins at the oldest event
	}
	return feed.Read(ctx, c.MerchantID, &c.At, Filter{}, limit)
}

// Advance moves the cursor on to a later event and ends its lease. It reports false if the
// cursor is no longer where it was: another instance has moved it. db may be the
// transaction in which the events were handled. The COMMIT does not wait for the disk: a
// crash may move a cursor back, and its consumer then handles events again.
func (c *Cursor) Advance(ctx context.Context, db postgres.Querier, to Position) (bool, error) {
	var tag pgconn.CommandTag
	q := &pgx.Batch{}
	q.Queue(postgres.NotDurable)
	q.Queue(`
		UPDATE feed_cursors
		SET transaction_id = $5, event_id = $6, leased_until = '-infinity'
		WHERE merchant_id = $1 AND consumer = $2 AND transaction_id = $3 AND event_id = $4`,
		c.MerchantID, c.Consumer, c.At.TransactionID, c.At.ID, to.TransactionID, to.ID,
	).Exec(func(t pgconn.CommandTag) error {
		tag = t
		return nil
	})
	if err := db.SendBatch(ctx, q).Close(); err != nil {
		return false, fmt.Errorf("advancing a cursor: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return false, nil
	}
	c.At = to
	return true, nil
}
