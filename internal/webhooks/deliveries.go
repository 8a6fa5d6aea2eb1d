package webhooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/internal/validate"
)

// SendTest queues a test event for the endpoint, and returns where it stands.
func (s *Service) SendTest(ctx context.Context, ref Ref) (at outbox.Position, err error) {
	err = postgres.Confirm(ctx, s.pool, func(conn *pgx.Conn) error {
		// In sharded mode the transaction id is one of the coordinator. That does no harm,
		// because the event id alone is unique, and a test event is not in the feed.
		err := conn.QueryRow(ctx, `
			INSERT INTO webhook_deliveries
				(merchant_id, endpoint_uid, transaction_id, event_id, is_test)
			SELECT w.merchant_id, w.uid, pg_current_xact_id(), $3, true
			FROM webhook_endpoints w
			WHERE w.merchant_id = $1 AND w.id = $2 AND w.status = 'enabled'
			RETURNING transaction_id, event_id`,
			ref.MerchantID, ref.ID, uuid.Must(uuid.NewV7()),
		).Scan(&at.TransactionID, (*[16]byte)(&at.ID))
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			if _, err := get(ctx, conn, ref); err != nil {
				return err
			}
			return ErrDisabled
		case err != nil:
			return fmt.Errorf("sending a test webhook: %w", err)
		}
		return nil
	})
	s.due.Notify()
	return at, err
}

// Redeliver sends an event once more, to the enabled endpoints that subscribe to its
// type, or to that one of them. It returns their ids. It begins the schedule anew, and
// works on events from before the endpoint, too. An event that is not in the feed is
// [outbox.ErrNotFound].
func (s *Service) Redeliver(
	ctx context.Context, merchantID int64, at outbox.Position, endpointID *string,
) (endpointIDs []string, err error) {
	var fields validate.Fields
	fields.Require(endpointID == nil || ValidID(*endpointID), "/webhook_endpoint",
		"must be the id of a webhook endpoint")
	if err := fields.Err(); err != nil {
		return nil, err
	}
	event, err := s.feed.Get(ctx, merchantID, at)
	if err != nil {
		return nil, err
	}
	err = postgres.Confirm(ctx, s.pool, func(conn *pgx.Conn) error {
		queued, err := queueAgain(ctx, conn, merchantID, at, event.Type, endpointID)
		if err != nil {
			return fmt.Errorf("redelivering an event: %w", err)
		}
		rows, err := conn.Query(ctx, `
			SELECT id FROM webhook_endpoints
			WHERE merchant_id = $1 AND uid = ANY ($2)
			ORDER BY id`, merchantID, queued)
		if err != nil {
			return fmt.Errorf("redelivering an event: %w", err)
		}
		if endpointIDs, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			return fmt.Errorf("redelivering an event: %w", err)
		}
		return nil
	})
	s.due.Notify()
	return endpointIDs, err
}

// queueAgain makes deliveries due that begin the schedule anew, and returns the uids of
// their endpoints.
func queueAgain(
	ctx context.Context, conn *pgx.Conn, merchantID int64, at outbox.Position, eventType string,
	endpointID *string,
) ([]uuid.UUID, error) {
	rows, err := conn.Query(ctx, `
		INSERT INTO webhook_deliveries AS d (merchant_id, endpoint_uid, transaction_id, event_id)
		SELECT w.merchant_id, w.uid, $2::xid8, $3::uuid
		FROM webhook_endpoints w
		WHERE w.merchant_id = $1 AND w.status = 'enabled'
			AND (w.event_types IS NULL OR $4 = ANY (w.event_types))
			AND ($5::text IS NULL OR w.id = $5)
		ON CONFLICT (merchant_id, endpoint_uid, transaction_id, event_id) DO UPDATE
		SET status = 'pending', attempts = 0, lease = NULL, begun_at = excluded.begun_at,
			next_attempt_at = excluded.next_attempt_at
		RETURNING d.endpoint_uid`, merchantID, at.TransactionID, at.ID, eventType, endpointID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}

// Attempt is one try to deliver.
type Attempt struct {
	ID         uuid.UUID
	Event      outbox.Position
	Number     int64  // of the delivery's tries, from 1 on
	StatusCode *int64 // nil: there was no answer
	Error      *string
	LatencyMS  int64
	Response   string // the first bytes of the answer
	At         time.Time
}

// Attempts lists the tries of an endpoint, newest first: up to limit before the given id.
func (s *Service) Attempts(
	ctx context.Context, ref Ref, before uuid.UUID, limit int,
) (attempts []Attempt, err error) {
	endpoint, err := s.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	q := &pgx.Batch{}
	q.Queue(postgres.InIndexOrder)
	q.Queue(`
		SELECT a.id, a.transaction_id, a.event_id, a.number, a.status_code, a.error, a.latency_ms,
			a.response, a.at
		FROM webhook_attempts a
		WHERE a.merchant_id = $1 AND a.endpoint_uid = $2 AND a.id < $3
		ORDER BY a.id DESC
		LIMIT $4`, ref.MerchantID, endpoint.uid, before, limit,
	).Query(func(rows pgx.Rows) error {
		attempts, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (a Attempt, err error) {
			err = row.Scan((*[16]byte)(&a.ID), &a.Event.TransactionID, (*[16]byte)(&a.Event.ID),
				&a.Number, &a.StatusCode, &a.Error, &a.LatencyMS, &a.Response, &a.At)
			return a, err
		})
		return err
	})
	if err := s.pool.SendBatch(ctx, q).Close(); err != nil {
		return nil, fmt.Errorf("listing webhook attempts: %w", err)
	}
	return attempts, nil
}
