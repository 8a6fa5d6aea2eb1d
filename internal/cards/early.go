package cards

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

// An event comes early if its attempt is not in the database: a backup was restored, or
// a standby took over without the last commits. The event is kept until a retry of the
// request begins the attempt again. It is applied before the processor is asked, because
// the processor may have forgotten the key and would charge twice.

// earlyBatchSize is how many kept events one statement reads.
const earlyBatchSize = 100

// keepEvent stores an event until its attempt begins.
func (s *Service) keepEvent(ctx context.Context, id string, n notice, body []byte) error {
	return postgres.Confirm(ctx, s.pool, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `
			INSERT INTO processor_events (merchant_id, id, attempt_id, body)
			VALUES ($1, $2, $3, $4)
			ON CONFLICT (merchant_id, id) DO NOTHING`, n.MerchantID, id, n.AttemptID, body)
		if err != nil {
			return fmt.Errorf("keeping an event: %w", err)
		}
		return nil
	})
}

// keptEvent is an event that came early.
type keptEvent struct {
	merchantID int64
	id         string
	attemptID  uuid.UUID
	body       []byte
}

// merchantsWithEarly finds the merchants with kept events.
const merchantsWithEarly = `SELECT DISTINCT merchant_id FROM processor_events`

const keptColumns = `e.merchant_id, e.id, e.attempt_id, e.body`

func scanKept(row pgx.CollectableRow) (e keptEvent, err error) {
	err = row.Scan(&e.merchantID, &e.id, &e.attemptID, &e.body)
	return e, err
}

// ApplyEarly applies the kept events whose attempts have begun. Every instance may call it
// at any time: the event's id is claimed once.
func (s *Service) ApplyEarly(ctx context.Context) error {
	return postgres.EachMerchant(ctx, s.pool, s.sharded, merchantsWithEarly, nil,
		func(merchantID *int64) error {
			_, err := s.applyKept(ctx, `
				SELECT `+keptColumns+`
				FROM processor_events e
				CROSS JOIN LATERAL (
					SELECT FROM processor_attempts a
					WHERE a.merchant_id = coalesce($1, e.merchant_id) AND a.id = e.attempt_id
					OFFSET 0) AS begun
				WHERE ($1::bigint IS NULL OR e.merchant_id = $1)
				LIMIT $2`, merchantID, earlyBatchSize)
			return err
		})
}

// applyEarlyTo applies the kept events of one attempt, before the processor is asked. It
// tells whether that has settled the attempt.
func (s *Service) applyEarlyTo(ctx context.Context, a *Attempt) (settled bool, err error) {
	return s.applyKept(ctx, `
		SELECT `+keptColumns+`
		FROM processor_events e
		WHERE e.merchant_id = $1 AND e.attempt_id = $2
		LIMIT $3`, a.MerchantID, a.ID, earlyBatchSize)
}

func (s *Service) applyKept(
	ctx context.Context, sql string, args ...any,
) (settled bool, err error) {
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return false, fmt.Errorf("reading kept events: %w", err)
	}
	events, err := pgx.CollectRows(rows, scanKept)
	if err != nil {
		return false, fmt.Errorf("reading kept events: %w", err)
	}
	var errs []error
	for _, e := range events {
		result, err := s.applyOne(ctx, e)
		settled = settled || result == applied || result == late
		errs = append(errs, err)
	}
	return settled, errors.Join(errs...)
}

// applyOne applies a kept event. If it settles the attempt, the settlement's transaction
// deletes the event. Else it is deleted here.
func (s *Service) applyOne(ctx context.Context, e keptEvent) (reception, error) {
	event, err := stripe.ParseEvent(e.body)
	if err != nil {
		return "", fmt.Errorf("reading a kept event: %w", err)
	}
	n := noticeOf(&event)
	var result reception
	a, err := s.attemptOf(ctx, n)
	switch {
	case err == nil:
		result, err = s.apply(ctx, e.id, n, a)
	case errors.Is(err, ErrNoAttempt) && n.AttemptID == e.attemptID:
		result, err = ignored, nil // a refund that names a charge: nothing can ever apply it
	}
	s.logEvent(ctx, &event, result, a, err)
	if err != nil || result == applied {
		return result, err
	}
	_, err = s.pool.Exec(ctx, `DELETE FROM processor_events WHERE merchant_id = $1 AND id = $2`,
		e.merchantID, e.id)
	if err != nil {
		return result, fmt.Errorf("deleting a kept event: %w", err)
	}
	return result, nil
}

// DeleteEarly deletes events that were kept for longer than the retention: at most limit,
// in sharded mode of each merchant. It returns how many. Their payments are at the
// processor and not in our books: reconciliation reports them.
func (s *Service) DeleteEarly(
	ctx context.Context, retention time.Duration, limit int,
) (int, error) {
	var deleted []keptEvent
	err := postgres.EachMerchant(ctx, s.pool, s.sharded, merchantsWithEarly, nil,
		func(merchantID *int64) error {
			rows, err := s.pool.Query(ctx, `
				DELETE FROM processor_events e
				WHERE e.merchant_id = coalesce($1, e.merchant_id) AND e.ctid = ANY (ARRAY(
					SELECT o.ctid FROM processor_events o
					WHERE ($1::bigint IS NULL OR o.merchant_id = $1)
						AND o.received_at < statement_timestamp() - $2::interval
					LIMIT $3))
				RETURNING e.merchant_id, e.id, e.attempt_id, ''::bytea`,
				merchantID, retention, limit)
			if err != nil {
				return err
			}
			events, err := pgx.CollectRows(rows, scanKept)
			deleted = append(deleted, events...)
			return err
		})
	for _, e := range deleted {
		s.logger.WarnContext(ctx, "an event's payment never came: see paymentsvc reconcile",
			"event_id", e.id, "merchant_id", e.merchantID, "attempt_id", e.attemptID)
	}
	if err != nil {
		return 0, fmt.Errorf("deleting old events: %w", err)
	}
	return len(deleted), nil
}
