package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/migrations"
)

// The database is asked every probeInterval and has probeTimeout to answer, so that
// readiness fails well within three seconds of a database that has gone silent.
const (
	probeInterval = 500 * time.Millisecond
	probeTimeout  = 1500 * time.Millisecond
)

var errDraining = errors.New("the instance is shutting down")

// health knows whether this instance may take charges. It is asked by every load
// balancer and answers from memory; one goroutine asks the database, on a connection
// that nothing else uses.
type health struct {
	pools         *postgres.Pools
	allowDataLoss bool
	logger        *slog.Logger
	schema        migrations.Checker // used by probe, which is never called twice at once

	mu       sync.Mutex // guards what follows
	err      error      // why not; nil: ready
	draining bool
}

func newHealth(pools *postgres.Pools, allowDataLoss bool, logger *slog.Logger) *health {
	return &health{pools: pools, allowDataLoss: allowDataLoss, logger: logger}
}

// ready returns nil while the instance may take charges, and otherwise why not.
func (h *health) ready() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining {
		return errDraining
	}
	return h.err
}

// drain makes the instance not ready for good.
func (h *health) drain() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
}

// check brings the answer up to date.
func (h *health) check(ctx context.Context) error {
	h.record(h.probe(ctx))
	return nil // what is wrong has been logged once, when it changed
}

func (h *health) record(err error) {
	h.mu.Lock()
	before := h.err
	h.err = err
	h.mu.Unlock()
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		h.logger.Error("not ready", "error", err)
	case err == nil && before != nil:
		h.logger.Info("ready")
	}
}

// probe finds out whether money may run on the database: it is there, takes writes,
// keeps what it has committed, and has a schema that is fit for use.
func (h *health) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if err := h.pools.CheckWritable(ctx); err != nil {
		return err
	}
	if err := h.pools.CheckDurability(ctx); err != nil {
		if !h.allowDataLoss || !errors.Is(err, postgres.ErrNotDurable) {
			return fmt.Errorf("%w (--allow-data-loss runs on it all the same)", err)
		}
	}
	return h.schema.Check(ctx, h.pools.Probe)
}

// waitUntilFit returns nil once the instance may take charges. It waits for a database
// that is on its way up; for anything else that is wrong it returns at once.
func (h *health) waitUntilFit(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	for {
		err := h.probe(ctx)
		if err == nil || !postgres.Unavailable(err) {
			return err
		}
		h.logger.Warn("waiting for the database", "error", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the database: %w", err)
		case <-ticker.C:
		}
	}
}
