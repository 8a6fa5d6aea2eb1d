package webhooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/internal/unnest"
)

const (
	fanOutLease   = 10 * time.Second
	fanOutCursors = 20  // merchants that one round serves
	fanOutPage    = 500 // events of a merchant in one transaction

	// An instance under load commits all the time. So a wake-up is answered after these
	// pauses, and not at once: looking costs a query.
	pauseAfterWork = 50 * time.Millisecond
	pauseAfterNone = 100 * time.Millisecond
)

// FanOut makes deliveries of the events of all merchants that have endpoints, until ctx
// ends. Every instance does so.
//
// If the cursor is lost, the fan-out logs an error and goes on from the oldest kept
// event: the receivers drop repetitions.
func (s *Service) FanOut(ctx context.Context) {
	for ctx.Err() == nil {
		began, committed := time.Now(), s.committed.Changed()
		found, err := s.FanOutOnce(ctx)
		if err != nil && ctx.Err() == nil {
			s.logger.Warn("the fan-out of webhooks failed and will try again", "error", err)
		}
		if found && err == nil {
			pause(ctx, max(pauseAfterWork, outbox.Rest(time.Since(began), s.busy())))
			continue
		}
		pause(ctx, pauseAfterNone)
		select {
		case <-committed:
		case <-time.After(s.schedule.Poll):
		case <-ctx.Done():
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// FanOutOnce makes the deliveries of one page of events of each merchant that has any.
// It tells whether there were any.
func (s *Service) FanOutOnce(ctx context.Context) (found bool, err error) {
	cursors, err := s.feed.Lease(ctx, outbox.Webhooks, fanOutLease, fanOutCursors)
	problems := []error{err}
	for i := range cursors {
		if err := s.fanOut(ctx, &cursors[i]); err != nil {
			problems = append(problems, fmt.Errorf("merchant %d: %w", cursors[i].MerchantID, err))
		}
	}
	return len(cursors) > 0, errors.Join(problems...)
}

func (s *Service) fanOut(ctx context.Context, cursor *outbox.Cursor) error {
	page, err := cursor.Read(ctx, s.feed, fanOutPage)
	if errors.Is(err, outbox.ErrCursorLost) {
		s.counts.cursorsLost.Add(1)
		s.logger.Error("the webhooks' cursor is lost, and goes on from the oldest kept event",
			"merchant_id", cursor.MerchantID, "event_id", cursor.At.EventID())
		page, err = s.feed.Read(ctx, cursor.MerchantID, nil, outbox.Filter{}, fanOutPage)
	}
	if err != nil {
		return err
	}
	if err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := insertDeliveries(ctx, tx, cursor.MerchantID, page.Events); err != nil {
			return err
		}
		moved, err := cursor.Advance(ctx, tx, page.Next) // and the COMMIT is not durable
		if err == nil && !moved {
			return errMoved
		}
		return err
	}); err != nil && !errors.Is(err, errMoved) {
		return err
	}
	s.due.Notify()
	return nil
}

// errMoved rolls back the work of an instance whose lease has ended. Another instance
// has done it.
var errMoved = errors.New("another instance has moved the cursor")

// insertDeliveries inserts a delivery for each endpoint that subscribes to an event. A
// delivery that is there already stays as it is.
func insertDeliveries(
	ctx context.Context, tx pgx.Tx, merchantID int64, events []outbox.Event,
) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO webhook_deliveries (merchant_id, endpoint_uid, transaction_id, event_id)
		SELECT w.merchant_id, w.uid, e.transaction_id, e.id
		FROM unnest($2::xid8[], $3::uuid[], $4::text[]) AS e (transaction_id, id, type)
		JOIN webhook_endpoints w ON w.merchant_id = $1 AND w.status = 'enabled'
			AND w.since_transaction_id < e.transaction_id
			AND (w.event_types IS NULL OR e.type = ANY (w.event_types))
		ON CONFLICT (merchant_id, endpoint_uid, transaction_id, event_id) DO NOTHING`,
		merchantID,
		unnest.Column(events, func(e outbox.Event) uint64 { return e.TransactionID }),
		unnest.Column(events, func(e outbox.Event) [16]byte { return e.ID }),
		unnest.Column(events, func(e outbox.Event) string { return e.Type }))
	if err != nil {
		return fmt.Errorf("inserting webhook deliveries: %w", err)
	}
	return nil
}
