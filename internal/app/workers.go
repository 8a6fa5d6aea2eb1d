package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
)

const (
	expireBatchSize = 500
	expireInterval  = time.Second

	reapBatchSize   = 5000
	reapIntervalMax = time.Minute
)

// worker does something in the background, again and again, until the instance ends.
// Every instance runs every worker: what they do is safe at once and twice.
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
			logger.Warn("a background worker failed and will try again", "worker", w.name, "error",
				err)
		}
	}
}

// workers of an instance.
func (in *Instance) workers() []worker {
	return []worker{
		{"watching the database", probeInterval, in.health.check},
		// Until an authorization is canceled here, nobody can capture it either: a
		// capture looks at the database's clock itself.
		{"expiring authorizations", expireInterval, func(ctx context.Context) error {
			return untilShort(expireBatchSize, func() (int, error) {
				return in.Payments.ExpireAuthorizations(ctx, expireBatchSize)
			})
		}},
		// An answer expires by the database's clock, when it is asked for. This gives
		// back its space.
		{"reaping answers", min(in.config.Retention, reapIntervalMax),
			func(ctx context.Context) error {
				return untilShort(reapBatchSize, func() (int, error) {
					return idempotency.Reap(ctx, in.Pools.General, in.config.Retention, reapBatchSize)
				})
			}},
	}
}

// untilShort repeats a step that handles at most limit things, until it finds fewer.
func untilShort(limit int, step func() (int, error)) error {
	for {
		if n, err := step(); err != nil || n < limit {
			return err
		}
	}
}
