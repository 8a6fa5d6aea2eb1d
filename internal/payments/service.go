package payments

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/paymentsvc/paymentsvc/internal/groupcommit"
	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// Errors of the service. With each of them the same key is safe to send again, and finds out.
var (
	ErrOverloaded     = errors.New("too many requests are waiting")
	ErrOutcomeUnknown = errors.New("it is not known yet whether the request was executed")
	// ErrUnavailable speaks of one attempt only: an earlier one, whose outcome its caller never learned, may have been executed.
	ErrUnavailable = errors.New(
		"this attempt did nothing, because the database cannot be used right now; an earlier one under the same key may have been executed")
	// ErrNotSafeYet speaks of what has no key, and is done.
	ErrNotSafeYet = errors.New(
		"it is done, but whether a standby of the database has it cannot be told right now; the same request again is safe " +
			"(with an If-Match that names a version it may then be answered with 412)")
	ErrUnknownFingerprint = errors.New("the key was taken by a newer release of the service")
)

// Config of a Service. Every field is required, but for those of the last group.
type Config struct {
	Pools *postgres.Pools
	// Render turns an outcome into the answer that callers get. It is pure, and runs inside the transaction, because the
	// answer is stored with the payment.
	Render    func(Outcome) idempotency.Answer
	Retention time.Duration // how long answers are replayed
	// AuthorizationLifetime is how long an authorization holds money before it is canceled, by the database's clock.
	AuthorizationLifetime time.Duration

	Workers      int           // money transactions in flight; no more than Pools.Money has connections
	BatchSizeMax int           // charges in one transaction
	QueueSizeMax int           // callers that may wait
	Timeout      time.Duration // after which a transaction's outcome is called unknown
	Logger       *slog.Logger

	// Observer watches the queue and the transactions.
	Observer groupcommit.Observer
	// Trace is called before a batch is committed, with the contexts of the requests that it carries. The context that it
	// returns takes the place of the transaction's own, and the function is called with the end.
	Trace func(ctx context.Context, requests []context.Context) (context.Context, func(error))
}

// Outcome is what an operation came to, for rendering.
type Outcome struct {
	Payment   *Payment  // as it is now
	Created   bool      // the operation made the payment; else it changed it
	Refund    *Refund   // that the operation made; nil: none
	JSON      []byte    // what the operation made or changed, as callers see it: what its event holds, written once for both
	RequestID uuid.UUID // of the request that is answered
}

// Service makes payments and changes them. Its methods may be called from any goroutine, of any number of instances on one database.
type Service struct {
	pool      *pgxpool.Pool
	committer *postgres.Committer
	group     *groupcommit.Group[idempotency.Key, *operation, ruling]
	render    func(Outcome) idempotency.Answer
	retention time.Duration
	trace     func(context.Context, []context.Context) (context.Context, func(error)) // nil: no
	queueMax  int

	authorizedFor time.Duration
}

// New starts a service. Close ends it.
func New(c Config) *Service {
	s := &Service{
		pool:      c.Pools.General,
		committer: postgres.NewCommitter(c.Pools.Money, c.Logger),
		render:    c.Render,
		retention: c.Retention,
		trace:     c.Trace,
		queueMax:  c.QueueSizeMax,

		authorizedFor: c.AuthorizationLifetime,
	}
	s.group = groupcommit.New[idempotency.Key](groupcommit.Config[*operation, ruling]{
		Commit:       s.commit,
		Splittable:   splittable,
		Workers:      c.Workers,
		BatchSizeMax: c.BatchSizeMax,
		QueueSizeMax: c.QueueSizeMax,
		Timeout:      c.Timeout,
		Observer:     c.Observer,
	})
	return s
}

// Close commits the charges that wait, and ends the service.
func (s *Service) Close() { s.group.Close() }

// Stats say how the service is doing.
type Stats struct {
	Waiting      int // callers whose charge is in no transaction yet
	Transactions postgres.CommitterStats
}

// Stats are those of this moment.
func (s *Service) Stats() Stats {
	return Stats{Waiting: s.group.Waiting(), Transactions: s.committer.Stats()}
}

// splittable tells whether a batch failed for what may be one operation's fault, and not for want of a database.
func splittable(err error) bool {
	return !errors.Is(err, postgres.ErrUnavailable) && !errors.Is(err, postgres.ErrOutcomeUnknown)
}

// Caller says under which key a request came.
type Caller struct {
	Key       idempotency.Key
	RequestID uuid.UUID // of this very request: a retry has another
}

// Reply is an answer to a keyed request.
type Reply struct {
	idempotency.Answer
	// RequestID names the request that was executed. If it is not the caller's own, the answer is a replay.
	RequestID uuid.UUID
	PaymentID uuid.UUID
}

// Charge charges once under the caller's key, and answers. The same request under the same key gets the same answer
// however often it comes and wherever it goes. A *Refusal is a definite no; any other error leaves it to the same key to
// find out.
func (s *Service) Charge(ctx context.Context, caller Caller, charge Charge) (Reply, error) {
	return s.do(ctx, newCharge(caller, charge), charge.check())
}

// Capture moves the money that an authorized payment holds, once: it answers and replays like Charge.
func (s *Service) Capture(ctx context.Context, caller Caller, capture Capture) (Reply, error) {
	return s.do(ctx, newCapture(caller, capture), capture.check())
}

// Cancel frees the money that an authorized payment holds: it answers and replays like Charge.
func (s *Service) Cancel(ctx context.Context, caller Caller, paymentID uuid.UUID) (Reply, error) {
	return s.do(ctx, newCancel(caller, paymentID), nil)
}

// Refund gives back what a payment captured, or a part of it: it answers and replays like Charge.
func (s *Service) Refund(ctx context.Context, caller Caller, request RefundRequest) (Reply, error) {
	return s.do(ctx, newRefund(caller, request), request.check())
}

// do executes an operation, or answers a request that broke a rule.
func (s *Service) do(ctx context.Context, op *operation, broken *Refusal) (Reply, error) {
	if broken != nil {
		return s.replayOrRefuse(ctx, op, broken)
	}
	return s.execute(ctx, op)
}

// ExpireAuthorizations cancels up to limit authorizations whose time is over, of any merchant, and returns how many there
// were; fewer than limit means that none is left. Every instance may call it at any time: each is an operation like
// any other, under a key that names the payment, so it is canceled once. An error means that some may be left.
func (s *Service) ExpireAuthorizations(ctx context.Context, limit int) (int, error) {
	expired, err := s.expired(ctx, limit)
	if err != nil {
		return 0, err
	}
	var canceling errgroup.Group
	for _, payment := range expired {
		canceling.Go(func() error {
			_, err := s.execute(ctx, newExpire(payment))
			if _, refused := errors.AsType[*Refusal](err); refused {
				return nil // captured or canceled meanwhile
			}
			return err
		})
	}
	return len(expired), canceling.Wait()
}

// execute waits for the ruling on the operation's key. If another request took this one's place in the queue under
// the same key, and was refused, that refusal says nothing about this request, and it asks again.
func (s *Service) execute(ctx context.Context, op *operation) (Reply, error) {
	op.request = ctx
	for {
		ruling, ours, err := s.group.Do(ctx, op.claim.Key, op)
		switch {
		case err != nil:
			return Reply{}, translate(err)
		case ruling.record != nil:
			return s.reply(ruling.record, op.claim.Fingerprint, ruling.now)
		case ours || ruling.fingerprint == op.claim.Fingerprint:
			return Reply{}, ruling.refusal
		}
	}
}

// replayOrRefuse handles a request that breaks a rule. If its key has been answered already it gets that answer: the rule may be
// younger than the answer. A replay is an acknowledgement, so it is confirmed; replays out of a batch need no such call, because
// their row locks are writes. It does not queue for a batch: rules seldom become stricter.
func (s *Service) replayOrRefuse(ctx context.Context, op *operation, refusal *Refusal) (Reply, error) {
	var reply Reply
	err := postgres.Confirm(ctx, s.pool, func(conn *pgx.Conn) error {
		record, now, err := idempotency.Find(ctx, conn, op.claim.Key)
		switch {
		case err != nil:
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		case record == nil:
			return refusal
		}
		reply, err = s.reply(record, op.claim.Fingerprint, now)
		return err
	})
	if err != nil {
		return Reply{}, translate(err)
	}
	return reply, nil
}

// reply is what a record means for one request under its key.
func (s *Service) reply(record *idempotency.Record, request idempotency.Fingerprint, now time.Time) (Reply, error) {
	answer, err := record.AnswerTo(request, now, s.retention)
	refusal := &Refusal{PaymentID: record.PaymentID}
	switch {
	case errors.Is(err, idempotency.ErrKeyReused):
		refusal.Code, refusal.Detail = CodeKeyReused, "this key was used for another request; a new request takes a new key"
		return Reply{}, refusal
	case errors.Is(err, idempotency.ErrKeyExpired):
		refusal.Code, refusal.Detail = CodeKeyExpired, "this key was used, and its answer is no longer kept; look at the payment"
		return Reply{}, refusal
	case err != nil:
		return Reply{}, fmt.Errorf("%w: %w", ErrUnknownFingerprint, err)
	}
	return Reply{Answer: *answer, RequestID: record.RequestID, PaymentID: record.PaymentID}, nil
}

// translate says in the service's own terms why there is no ruling.
func translate(err error) error {
	switch {
	case errors.Is(err, groupcommit.ErrQueueFull):
		return fmt.Errorf("%w: %w", ErrOverloaded, err)
	case errors.Is(err, groupcommit.ErrStarted), errors.Is(err, postgres.ErrOutcomeUnknown):
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	case errors.Is(err, groupcommit.ErrNotStarted), errors.Is(err, postgres.ErrUnavailable):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if panicked, ok := errors.AsType[*groupcommit.PanicError](err); ok {
		return fmt.Errorf("%w\n%s", err, panicked.Stack) // for the log
	}
	return err
}

// newID makes an id that sorts by time. It comes from a clock and a random source and never from a counter of this process:
// two instances must not make the same one.
func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }
