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
	"github.com/paymentsvc/paymentsvc/internal/unnest"
)

// lookInterval is how often an instance looks for the attempts that its callers wait for
// and that another instance may settle.
const lookInterval = 200 * time.Millisecond

// Await is for a request that is at the processor. It waits for the end of the attempt,
// up to the limit, and then repeats the request: the same key has its answer by then. The
// request that has begun the attempt starts the work on it.
func (s *Service) Await(
	ctx context.Context, pending *payments.InProgress, limit time.Duration,
	again func() (payments.Reply, error),
) (payments.Reply, error) {
	ref := attemptRef{pending.MerchantID, pending.AttemptID}
	ended, leave := s.waits.join(ref) // before the work begins, so that its end is not missed
	defer leave()
	if pending.Begun {
		if err := s.startFresh(ctx, pending); err != nil {
			return payments.Reply{}, fmt.Errorf("%w: %w", payments.ErrOutcomeUnknown, err)
		}
	}
	patience, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case <-ended:
	case <-patience.Done():
	}
	reply, err := again()
	if _, still := errors.AsType[*payments.InProgress](err); still {
		return payments.Reply{}, pending.Refusal()
	}
	return reply, err
}

// waits are the attempts that callers of this instance wait for. One worker looks at all
// of them, in one round trip each time.
type waits struct {
	pool   *pgxpool.Pool
	logger *slog.Logger

	mu      sync.Mutex
	callers map[attemptRef]*wait
	looking bool

	running context.Context
	stop    context.CancelFunc
	worker  sync.WaitGroup
}

// wait is one attempt that n callers wait for. end is closed at its end.
type wait struct {
	n    int
	end  chan struct{}
	once sync.Once
}

func newWaits(pool *pgxpool.Pool, logger *slog.Logger) *waits {
	w := &waits{pool: pool, logger: logger, callers: map[attemptRef]*wait{}}
	w.running, w.stop = context.WithCancel(context.Background())
	return w
}

func (w *waits) join(ref attemptRef) (ended <-chan struct{}, leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	waited := w.callers[ref]
	if waited == nil {
		waited = &wait{end: make(chan struct{})}
		w.callers[ref] = waited
	}
	waited.n++
	if !w.looking && w.running.Err() == nil {
		w.looking = true
		w.worker.Go(w.look)
	}
	return waited.end, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if waited.n--; waited.n == 0 {
			delete(w.callers, ref)
		}
	}
}

// ended wakes the callers that wait for the attempt.
func (w *waits) ended(ref attemptRef) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if waited := w.callers[ref]; waited != nil {
		waited.once.Do(func() { close(waited.end) })
	}
}

// look runs while there are callers.
func (w *waits) look() {
	ticker := time.NewTicker(lookInterval)
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
		settled, err := w.settled(refs)
		if err != nil {
			w.logger.Warn("looking for settled attempts; will try again", "error", err)
		}
		for _, ref := range settled {
			w.ended(ref)
		}
	}
}

// refs are the attempts that are waited for. nil: none, and the worker ends.
func (w *waits) refs() []attemptRef {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.callers) == 0 {
		w.looking = false
		return nil
	}
	refs := make([]attemptRef, 0, len(w.callers))
	for ref := range w.callers {
		refs = append(refs, ref)
	}
	return refs
}

// settled tells which of the attempts have come to their end.
func (w *waits) settled(refs []attemptRef) ([]attemptRef, error) {
	ctx, cancel := context.WithTimeout(w.running, writeTimeout)
	defer cancel()
	rows, err := w.pool.Query(ctx, `
		SELECT a.merchant_id, a.id
		FROM unnest($1::bigint[], $2::uuid[]) AS wanted (merchant_id, id)
		CROSS JOIN LATERAL (
			SELECT a.merchant_id, a.id FROM processor_attempts a
			WHERE a.merchant_id = wanted.merchant_id AND a.id = wanted.id AND a.state = 'settled'
			OFFSET 0) AS a`,
		unnest.Column(refs, func(r attemptRef) int64 { return r.merchantID }),
		unnest.Column(refs, func(r attemptRef) [16]byte { return r.id }))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (ref attemptRef, err error) {
		err = row.Scan(&ref.merchantID, &ref.id)
		return ref, err
	})
}

func (w *waits) close() {
	w.mu.Lock() // so that join starts no worker afterwards
	w.stop()
	w.mu.Unlock()
	w.worker.Wait()
}
