package cards

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// DefaultReach is how far back a reconciliation looks. The processor knows a key for
	// 24 h. For that time, a retry finds the charge that a restored backup has lost. The
	// hour more makes daily runs overlap.
	DefaultReach = 25 * time.Hour

	// reconcileInterval is between two background runs, of all instances together.
	reconcileInterval = time.Hour
	// reconcileOverlap is how far a run reaches back into the time of the last one, when
	// attempts of that time may still have been open.
	reconcileOverlap = time.Hour
)

// Stats are the state of card payments. The fields after Calls are about all instances,
// as of the last Watch.
type Stats struct {
	Calls int // attempts that this instance works on

	Open         int64         // attempts that an instance works on, or will
	Review       int64         // attempts that wait for a person
	OldestOpen   time.Duration // how old the oldest open attempt is
	OldestReview time.Duration
	Differences  int64     // of the last background reconciliation
	ReconciledAt time.Time // the end of the time that it compared; zero: never
}

// Stats returns the state. It is zero for a nil Service, which is one without a
// processor.
func (s *Service) Stats() Stats {
	if s == nil {
		return Stats{}
	}
	stats := Stats{}
	if seen := s.watched.Load(); seen != nil {
		stats = *seen
	}
	stats.Calls = callsMax - s.places.free()
	return stats
}

// Watch reads the state that all instances share, for the metrics.
func (s *Service) Watch(ctx context.Context) error {
	const count = `
		SELECT count(*), greatest(coalesce(clock_timestamp() - min(created_at), '0'), '0')
		FROM processor_attempts WHERE state = `
	var seen Stats
	var until *time.Time
	q := &pgx.Batch{}
	q.Queue(count + `'open'`).QueryRow(func(row pgx.Row) error {
		return row.Scan(&seen.Open, &seen.OldestOpen)
	})
	q.Queue(count + `'review'`).QueryRow(func(row pgx.Row) error {
		return row.Scan(&seen.Review, &seen.OldestReview)
	})
	q.Queue(`
		SELECT coalesce(reconcile_differences, 0), reconciled_until FROM processor_installation`,
	).QueryRow(func(row pgx.Row) error {
		return row.Scan(&seen.Differences, &until)
	})
	if err := s.pool.SendBatch(ctx, q).Close(); err != nil {
		return fmt.Errorf("counting attempts: %w", err)
	}
	if until != nil {
		seen.ReconciledAt = *until
	}
	s.watched.Store(&seen)
	return nil
}

// ReconcileDue compares the processor's books with ours, if that is due: each hour, on
// one instance. It covers the time since the last run, and an hour before that. It logs
// each difference, and Stats has their number.
func (s *Service) ReconcileDue(ctx context.Context) error {
	var since, until time.Time
	err := s.pool.QueryRow(ctx, `
		UPDATE processor_installation
		SET reconcile_due_at = clock_timestamp() + $1::interval
		WHERE reconcile_due_at <= clock_timestamp()
		RETURNING
			coalesce(reconciled_until - $2::interval, clock_timestamp() - $3::interval),
			clock_timestamp()`,
		reconcileInterval, reconcileOverlap, DefaultReach).Scan(&since, &until)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("beginning a reconciliation: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, reconcileInterval) // then another one is due
	defer cancel()
	n, err := s.Reconcile(ctx, Comparison{
		Since: since, Until: until, Report: func(d Difference) { s.log(ctx, d) },
	})
	if err != nil {
		return fmt.Errorf("reconciling with the processor: %w", err)
	}
	_, err = s.pool.Exec(ctx, `
		UPDATE processor_installation SET reconciled_until = $1, reconcile_differences = $2`,
		until, n)
	if err != nil {
		return fmt.Errorf("ending a reconciliation: %w", err)
	}
	return nil
}

// log writes a line for a difference. A note is not worth a line each hour.
func (s *Service) log(ctx context.Context, d Difference) {
	if d.Note {
		return
	}
	s.logger.ErrorContext(ctx, "the processor's books differ: see paymentsvc reconcile",
		"kind", string(d.Kind), "merchant_id", d.MerchantID, "attempt_id", d.AttemptID,
		"payment_id", d.payment(), "intent_id", d.IntentID, "detail", d.Detail)
}
