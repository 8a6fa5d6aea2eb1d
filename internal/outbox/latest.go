package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/internal/unnest"
)

// ReadLatest reads up to limit of the latest events, oldest first. The page ends where
// the feed ends now. It looks at a bounded number of events, as Read does.
func (f *Feed) ReadLatest(
	ctx context.Context, merchantID int64, filter Filter, limit int,
) (page Page, err error) {
	return f.confirmed(ctx, nil, func(conn *pgx.Conn) (Page, error) {
		return readLatest(ctx, conn, merchantID, filter, limit)
	})
}

// confirmed returns a page when its events are as safe as an answer, and so is the one
// that its end names. If the reader stays where it is, there is nothing to confirm.
func (f *Feed) confirmed(
	ctx context.Context, from *Position, read func(*pgx.Conn) (Page, error),
) (page Page, err error) {
	errSame := errors.New("nothing to confirm")
	err = postgres.Confirm(ctx, f.pool, func(conn *pgx.Conn) error {
		if page, err = read(conn); err != nil {
			return err
		}
		if page.Next == (Position{}) || from != nil && page.Next == *from {
			return errSame
		}
		return nil
	})
	switch {
	case errors.Is(err, errSame):
		return page, nil
	case err != nil:
		return Page{}, err
	}
	return page, nil
}

func readLatest(
	ctx context.Context, db postgres.Querier, merchantID int64, filter Filter, limit int,
) (page Page, err error) {
	examined := examinedMax
	if filter == (Filter{}) {
		examined = limit
	}
	q := &pgx.Batch{}
	queueHorizon(q, merchantID, &page.Next)
	q.Queue(postgres.InIndexOrder)
	q.Queue(`
		SELECT `+eventColumns+`,
			coalesce(e.type = $3, true) AND coalesce(e.payment_id = $4, true)
		FROM events e
		WHERE e.merchant_id = $1 AND e.transaction_id < pg_snapshot_xmin(pg_current_snapshot())
		ORDER BY e.transaction_id DESC, e.id DESC
		LIMIT $2`,
		merchantID, examined, unnest.Nullable(filter.Type), filter.payment(),
	).Query(func(rows pgx.Rows) error {
		first := true
		return forEachEvent(rows, func(e Event, matches bool) {
			if first {
				page.Next, first = e.Position(), false
			}
			if matches && len(page.Events) < limit {
				page.Events = append(page.Events, e)
			}
		})
	})
	if err := db.SendBatch(ctx, q).Close(); err != nil {
		return Page{}, fmt.Errorf("reading the feed: %w", err)
	}
	slices.Reverse(page.Events)
	return page, nil
}
