package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/cards"
	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/outbox"
)

const (
	expireBatchSize = 500
	expireInterval  = time.Second

	recoverInterval = 500 * time.Millisecond
	earlyInterval   = 5 * time.Second

	reapBatchSize   = 5000
	reapIntervalMax = time.Minute

	deleteBatchSize = 1000 // events of one merchant, or of the processor

	lagInterval          = time.Second
	idsInterval          = time.Minute
	webhookWatchInterval = 10 * time.Second
	cardsWatchInterval   = 10 * time.Second
	reconcileInterval    = time.Minute // to see whether it is due
)

// worker repeats a job in the background until the instance ends. Every instance runs
// every worker, so a job must be safe to run twice, and at the same time.
type worker struct {
	name     string
	interval time.Duration
	work     func(context.Context) error
}

func (w worker) run(ctx context.Context, logger *slog.Logger) {
	ticker := time.NewTicker(w.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := w.work(ctx); err != nil && ctx.Err() == nil {
			logger.Warn("a background worker failed and will try again",
				"worker", w.name, "error", err)
		}
	}
}

func (in *Instance) workers() []worker {
	workers := []worker{
		{"watching the database", probeInterval, in.health.check},
		{"watching commits", commitFailingInterval, in.health.checkCommit},
		{"expiring authorizations", expireInterval, in.expireAuthorizations},
		{"recovering card payments", recoverInterval, in.withCards((*cards.Service).Recover)},
		{"applying early events", earlyInterval, in.withCards((*cards.Service).ApplyEarly)},
		{
			"deleting early events", min(in.config.EventRetention, reapIntervalMax),
			in.deleteEarlyEvents,
		},
		{"reaping answers", min(in.config.Retention, reapIntervalMax), in.reapAnswers},
		{"watching card payments", cardsWatchInterval, in.withCards((*cards.Service).Watch)},
		{
			"reconciling card payments", reconcileInterval,
			in.withCards((*cards.Service).ReconcileDue),
		},
	}
	if in.feedOff() {
		return workers
	}
	return append(workers,
		worker{"watching transaction ids", idsInterval, in.health.checkIDs},
		worker{"measuring the feed's lag", lagInterval, in.sampleLag},
		worker{
			"deleting events", min(in.config.EventRetention, reapIntervalMax), in.deleteEvents,
		},
		worker{
			"reaping webhooks", min(in.config.EventRetention, reapIntervalMax), in.reapWebhooks,
		},
		worker{"watching webhooks", webhookWatchInterval, in.Webhooks.Watch})
}

// expireAuthorizations frees the money of expired authorizations. It may be late: a
// capture compares the expiry with the database's clock itself.
func (in *Instance) expireAuthorizations(ctx context.Context) error {
	return untilShort(expireBatchSize, func() (int, error) {
		return in.Payments.ExpireAuthorizations(ctx, expireBatchSize)
	})
}

// withCards does the work if there is a card processor.
func (in *Instance) withCards(
	work func(*cards.Service, context.Context) error,
) func(context.Context) error {
	return func(ctx context.Context) error {
		if in.Cards == nil {
			return nil
		}
		return work(in.Cards, ctx)
	}
}

// deleteEarlyEvents gives up events whose payments never came.
func (in *Instance) deleteEarlyEvents(ctx context.Context) error {
	if in.Cards == nil {
		return nil
	}
	return untilShort(deleteBatchSize, func() (int, error) {
		return in.Cards.DeleteEarly(ctx, in.config.EventRetention, deleteBatchSize)
	})
}

// reapAnswers frees the space of expired answers. It may be late: a replay compares the
// expiry with the database's clock itself.
func (in *Instance) reapAnswers(ctx context.Context) error {
	return untilShort(reapBatchSize, func() (int, error) {
		return idempotency.Reap(ctx, in.Pools.General, in.config.Retention, reapBatchSize)
	})
}

// deleteEvents ends the time of old events. A reader that has not come so far is told that
// its cursor is lost.
func (in *Instance) deleteEvents(ctx context.Context) error {
	return untilShort(1, func() (int, error) {
		return outbox.DeleteExpired(ctx, in.Pools.General, in.config.EventRetention,
			deleteBatchSize)
	})
}

// sampleLag measures how long a running transaction holds the feed back.
func (in *Instance) sampleLag(ctx context.Context) error {
	return in.lag.Sample(ctx, in.Pools.General)
}

// reapWebhooks frees the space of old deliveries and attempts.
func (in *Instance) reapWebhooks(ctx context.Context) error {
	return untilShort(reapBatchSize, func() (int, error) {
		return in.Webhooks.Reap(ctx, in.config.EventRetention, reapBatchSize)
	})
}

// untilShort repeats a step that handles at most limit rows, until it handles fewer.
func untilShort(limit int, step func() (int, error)) error {
	for {
		if n, err := step(); err != nil || n < limit {
			return err
		}
	}
}
