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

// When the database stops answering, readiness fails within probeInterval and
// probeTimeout together: well within three seconds.
const (
	probeInterval = 500 * time.Millisecond
	probeTimeout  = 1500 * time.Millisecond
)

var errDraining = errors.New("the instance is shutting down")

// health knows whether this instance may take charges. It answers load balancers from
// memory. One goroutine asks the database, on a connection of its own.
type health struct {
	pools         *postgres.Pools
	allowDataLoss bool
	logger        *slog.Logger
	schema        migrations.Checker // used by probe, which never runs twice at once

	mu       sync.Mutex // guards what follows
	err      error      // why the instance is not ready; nil: it is ready
	draining bool
}

func newHealth(pools *postgres.Pools, allowDataLoss bool, logger *slog.Logger) *health {
	return &health{pools: pools, allowDataLoss: allowDataLoss, logger: logger}
}

// ready returns nil while the instance may take charges, else the reason.
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

// check asks the database and updates the answer.
func (h *health) check(ctx context.Context) error {
	h.record(h.probe(ctx))
	return nil // record has logged a change
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

// probe checks that the database can be reached, takes writes, keeps committed data, and
// has a usable schema.
func (h *health) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if err := h.pools.CheckWritable(ctx); err != nil {
		return err
	}
	if err := h.pools.CheckDurability(ctx); err != nil {
		if !h.allowDataLoss || !errors.Is(err, postgres.ErrNotDurable) {
			return fmt.Errorf("%w (--allow-data-loss permits it)", err)
		}
	}
	return h.schema.Check(ctx, h.pools.Probe)
}

// waitUntilFit returns nil once the instance may take charges. It waits for a database
// that is starting. Any other error is returned at once.
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
