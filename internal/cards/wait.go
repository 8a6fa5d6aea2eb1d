package cards

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/internal/unnest"
)

// pollInterval is how often an instance asks the database which of the attempts that
// its callers wait for are settled. Another instance may have settled them.
const pollInterval = 200 * time.Millisecond

// Await waits until the attempt of a request is settled, up to the limit. Then it
// repeats the request, which gets the stored answer. If this very request has begun the
// attempt, Await starts the work on it.
func (s *Service) Await(
	ctx context.Context, pending *payments.InProgress, limit time.Duration,
	again func() (payments.Reply, error),
) (payments.Reply, error) {
	ref := attemptRef{pending.MerchantID, pending.AttemptID}
	settled, leave := s.waits.join(ref) // first: the work wakes the callers that have joined
	defer leave()
	if pending.Begun {
		if err := s.startFresh(ctx, pending); err != nil {
			return payments.Reply{}, fmt.Errorf("%w: %w", payments.ErrOutcomeUnknown, err)
		}
	}
	patience, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case <-settled:
	case <-patience.Done():
	}
	reply, err := again()
	if _, still := errors.AsType[*payments.InProgress](err); still {
		return payments.Reply{}, pending.Refusal()
	}
	return reply, err
}

// waits are the attempts that callers of this instance wait for. One worker polls for
// all of them: with one statement, or in sharded mode with one for each merchant.
type waits struct {
	pool    *pgxpool.Pool
	sharded bool
	logger  *slog.Logger

	mu      sync.Mutex
	waited  map[attemptRef]*wait
	polling bool // the worker runs

	running context.Context
	stop    context.CancelFunc
	worker  sync.WaitGroup
}

// wait is one attempt that callers wait for.
type wait struct {
	callers int
	settled chan struct{} // closed once the attempt is settled
	once    sync.Once
}

func newWaits(config Config) *waits {
	w := &waits{
		pool: config.Pool, sharded: config.Sharded, logger: config.Logger,
		waited: map[attemptRef]*wait{},
	}
	w.running, w.stop = context.WithCancel(context.Background())
	return w
}

func (w *waits) join(ref attemptRef) (settled <-chan struct{}, leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	waited := w.waited[ref]
	if waited == nil {
		waited = &wait{settled: make(chan struct{})}
		w.waited[ref] = waited
	}
	waited.callers++
	if !w.polling && w.running.Err() == nil {
		w.polling = true
		w.worker.Go(w.poll)
	}
	return waited.settled, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if waited.callers--; waited.callers == 0 {
			delete(w.waited, ref)
		}
	}
}

// wake wakes the callers that wait for the attempt.
func (w *waits) wake(ref attemptRef) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if waited := w.waited[ref]; waited != nil {
		waited.once.Do(func() { close(waited.settled) })
	}
}

// poll runs while there are callers.
func (w *waits) poll() {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-w.running.Done():
			return
		case <-ticker.C:
		}
		refs := w.refs()
		if refs == nil {
			return
		}
		settled, err := w.readSettled(refs)
		if err != nil {
			w.logger.Warn("looking for settled attempts; will try again", "error", err)
		}
		for _, ref := range settled {
			w.wake(ref)
		}
	}
}

// refs are the attempts that callers wait for. If there is none, it returns nil, and the
// worker ends.
func (w *waits) refs() []attemptRef {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waited) == 0 {
		w.polling = false
		return nil
	}
	refs := make([]attemptRef, 0, len(w.waited))
	for ref := range w.waited {
		refs = append(refs, ref)
	}
	return refs
}

// readSettled returns the attempts that are settled.
func (w *waits) readSettled(refs []attemptRef) (settled []attemptRef, err error) {
	ctx, cancel := context.WithTimeout(w.running, writeTimeout)
	defer cancel()
	for _, group := range postgres.ByMerchant(w.sharded, refs, attemptRef.merchant) {
		rows, err := w.pool.Query(ctx, `
			SELECT a.merchant_id, a.id
			FROM unnest($1::bigint[], $2::uuid[]) AS wanted (merchant_id, id)
			CROSS JOIN LATERAL (
				SELECT a.merchant_id, a.id FROM processor_attempts a
				WHERE a.merchant_id = coalesce($3, wanted.merchant_id) AND a.id = wanted.id
					AND a.state = 'settled'
				OFFSET 0) AS a`,
			unnest.Column(group, attemptRef.merchant), unnest.Column(group, attemptRef.bytes),
			unnest.Shared(group, attemptRef.merchant))
		if err != nil {
			return settled, err
		}
		found, err := pgx.CollectRows(rows, scanRef)
		if err != nil {
			return settled, err
		}
		settled = append(settled, found...)
	}
	return settled, nil
}

func (w *waits) close() {
	w.mu.Lock() // so that join starts no worker afterwards
	w.stop()
	w.mu.Unlock()
	w.worker.Wait()
}
