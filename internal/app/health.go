package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/migrations"
)

// When the database stops answering, readiness fails within probeInterval and
// probeTimeout together: well within three seconds.
const (
	probeInterval = 500 * time.Millisecond
	probeTimeout  = 1500 * time.Millisecond
)

// How often the instance finds out whether the database commits, and how often while it
// does not. A COMMIT that takes longer than commitTimeout is a failure.
const (
	commitInterval        = 5 * time.Second
	commitFailingInterval = time.Second
	commitTimeout         = 2 * time.Second
)

var errDraining = errors.New("the instance is shutting down")

// health knows whether this instance may take charges. It answers load balancers from
// memory. One goroutine asks the database, on a connection of its own.
type health struct {
	pools         *postgres.Pools
	allowDataLoss bool
	logger        *slog.Logger
	schema        migrations.Checker // used by probe, which never runs twice at once

	payments *payments.Service // nil while the instance starts
	checked  time.Time         // the last check of a commit; owned by its worker

	mu       sync.Mutex // guards what follows
	err      error      // what probe found; nil: nothing is wrong
	commit   error      // what checkCommit found; nil: nothing is wrong
	ids      error      // what checkIDs found; nil: nothing is wrong
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
	return h.finding()
}

// finding is the first of the findings; nil: nothing is wrong. The caller holds the lock.
func (h *health) finding() error { return cmp.Or(h.err, h.commit, h.ids) }

// drain makes the instance not ready for good.
func (h *health) drain() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
}

// check asks the database and updates the answer.
func (h *health) check(ctx context.Context) error {
	if err := h.probe(ctx); ctx.Err() == nil { // else the instance ends
		h.record(&h.err, err)
	}
	return nil // record has logged a change
}

// checkCommit finds out whether the database commits. It does so every commitInterval,
// and each time that it is called while commits fail: its own, or those of money.
func (h *health) checkCommit(ctx context.Context) error {
	h.mu.Lock()
	failing := h.commit
	h.mu.Unlock()
	if err := h.payments.Failing(); err != nil && failing == nil {
		failing = fmt.Errorf("money transactions fail: %w", err)
		h.record(&h.commit, failing)
	}
	if failing == nil && time.Since(h.checked) < commitInterval {
		return nil
	}
	probing, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	check := h.pools.CheckCommit
	if failing != nil {
		check = h.pools.CheckRecovery
	}
	err := check(probing)
	h.checked = time.Now()
	if ctx.Err() != nil {
		return nil // the instance ends
	}
	if err == nil {
		h.payments.Recovered()
	}
	h.record(&h.commit, err)
	return nil // record has logged a change
}

// checkIDs finds out whether a dump of another cluster was restored, whose transaction ids
// are ahead (see [outbox.CheckIDs]). Any other error is for probe to find.
func (h *health) checkIDs(ctx context.Context) error {
	err := outbox.CheckIDs(ctx, h.pools.General)
	if err != nil && !errors.Is(err, outbox.ErrForeignIDs) {
		return err
	}
	h.record(&h.ids, err)
	return nil // record has logged a change
}

// record updates a finding, and logs a change of the whole.
func (h *health) record(finding *error, err error) {
	h.mu.Lock()
	before := h.finding()
	*finding = err
	after := h.finding()
	h.mu.Unlock()
	switch {
	case after != nil && (before == nil || before.Error() != after.Error()):
		h.logger.Error("not ready", "error", after)
	case after == nil && before != nil:
		h.logger.Info("ready")
	}
}

// probe checks that the database can be reached, takes writes, keeps committed data, and
// has a usable schema.
func (h *health) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if err := h.pools.CheckWritable(ctx); err != nil {
		return migrations.Explain(err)
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
