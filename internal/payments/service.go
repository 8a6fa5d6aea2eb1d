package payments

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/groupcommit"
	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// Errors of the service. With each of them the same key is safe to send again, and
// finds out.
var (
	ErrOverloaded     = errors.New("too many requests are waiting")
	ErrOutcomeUnknown = errors.New("it is not known yet whether the request was executed")
	// ErrUnavailable is about one attempt only: an earlier one, whose outcome its
	// caller never learned, may have been executed.
	ErrUnavailable = errors.New("this attempt did nothing, because the database cannot be used " +
		"right now; an earlier one under the same key may have been executed")
	ErrUnknownFingerprint = errors.New("the key was taken by a newer release of the service")
)

// Config of a Service. Every field is required, but for those of the last group.
type Config struct {
	Pools     *postgres.Pools
	Retention time.Duration // how long answers are replayed
	// AuthorizationLifetime is how long an authorization holds money before it is
	// canceled, by the database's clock.
	AuthorizationLifetime time.Duration
	// Sharded says that a transaction may have operations of one merchant only.
	Sharded bool
	// AttemptLease is how long a request that goes to a card processor is left to the
	// instance that began it.
	AttemptLease time.Duration

	// money transactions in flight; at most the connections of Pools.Money
	Workers      int
	BatchSizeMax int // charges in one transaction
	QueueSizeMax int // callers that may wait
	// Timeout is how long a transaction may take with all its tries. Then its outcome
	// is unknown, or it is unavailable if no COMMIT was sent. It is also how long a
	// caller waits for a busy row.
	Timeout time.Duration
	Logger  *slog.Logger

	Observer groupcommit.Observer // watches the queue and the transactions
	Trace    Trace                // nil: no tracing

	// CheckCard refuses an amount that the card processor cannot take; nil: there is no
	// processor.
	CheckCard func(ledger.Money) error
}

// Service makes payments and changes them. Its methods may be called from any
// goroutine, of any number of instances on one database.
type Service struct {
	pool          *pgxpool.Pool
	committer     *postgres.Committer
	group         *groupcommit.Group[idempotency.Key, *operation]
	retention     time.Duration
	authorizedFor time.Duration
	attemptLease  time.Duration
	checkCard     func(ledger.Money) error
	queueMax      int
	timeout       time.Duration
	busy          *busyRows
	logger        *slog.Logger
}

// shardedBatchSizeMax limits how long a batch of one merchant delays the others. With a
// thousand callers of one merchant, another merchant's charge took 6 ms, at most 14 ms.
// With 512 it took 18 ms, at most 33 ms, and the busy merchant had 15 % more charges
// (TestBusyMerchantDelaysNoOther, on 2 cores).
const shardedBatchSizeMax = 128

// New starts a service. Close ends it.
func New(c Config) *Service {
	s := &Service{
		pool:          c.Pools.General,
		committer:     postgres.NewCommitter(c.Pools.Money, c.Logger),
		retention:     c.Retention,
		authorizedFor: c.AuthorizationLifetime,
		attemptLease:  c.AttemptLease,
		checkCard:     c.CheckCard,
		queueMax:      c.QueueSizeMax,
		timeout:       c.Timeout,
		busy:          newBusyRows(c.Pools.General, c.QueueSizeMax),
		logger:        c.Logger,
	}
	batches := groupcommit.Config[*operation]{
		Commit:       traced(c.Trace, s.transact),
		Workers:      c.Workers,
		BatchSizeMax: c.BatchSizeMax,
		QueueSizeMax: c.QueueSizeMax,
		Timeout:      c.Timeout,
		Observer:     c.Observer,
	}
	if c.Sharded {
		batches.Lane = (*operation).merchant
		batches.BatchSizeMax = min(c.BatchSizeMax, shardedBatchSizeMax)
	}
	s.group = groupcommit.New[idempotency.Key](batches)
	return s
}

// Close commits the charges that wait, and ends the service.
func (s *Service) Close() {
	s.group.Close()
	s.busy.looks.Close()
}

// Caller says under which key a request came.
type Caller struct {
	Key       idempotency.Key
	RequestID uuid.UUID // of this very request: a retry has another
}

// Reply is an answer on its way to one caller.
type Reply struct {
	idempotency.Answer
	// RequestID names the request that was executed. If it is not the caller's own, the
	// answer is a replay.
	RequestID uuid.UUID
	PaymentID uuid.UUID
	Operation string // "charge", "capture", "cancel", "refund"
}

// do executes an operation under its key, or replays the answer of that key. It tries
// again while a busy row blocks the operation.
func (s *Service) do(ctx context.Context, op *operation) (Reply, error) {
	op.trace = ctx
	reply, blockedBy, err := s.try(ctx, op)
	if blockedBy == nil {
		return reply, err
	}
	patience, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	for blockedBy != nil {
		if err := s.busy.wait(patience, *blockedBy); err != nil {
			return Reply{}, err
		}
		again := *op // callers that share op may still read it
		reply, blockedBy, err = s.try(ctx, &again)
	}
	return reply, err
}

// try executes an operation, unless a busy row blocks it.
func (s *Service) try(ctx context.Context, op *operation) (Reply, *row, error) {
	for {
		// The operation that comes back is the one that was decided: perhaps that of
		// another caller, who waited under the same key.
		done, err := s.group.Do(ctx, op.claim.Key, op)
		switch {
		case err != nil:
			return Reply{}, nil, translate(err)
		case done.record != nil:
			reply, err := s.replyTo(op, done.record, done.clock)
			return reply, nil, err
		case done.claim.Fingerprint != op.claim.Fingerprint:
			// Another request under this key was refused or blocked, so the key is free again.
			// That says nothing about this request: try again.
		case done.refusal != nil:
			return Reply{}, nil, done.refusal
		default:
			return Reply{}, done.blockedBy, nil
		}
	}
}

// replyTo is what the key's record means for one request, at the time of the database's
// clock.
func (s *Service) replyTo(
	op *operation, record *idempotency.Record, clock time.Time,
) (Reply, error) {
	answer, err := record.AnswerTo(op.claim.Fingerprint, clock, s.retention)
	switch {
	case errors.Is(err, idempotency.ErrKeyReused):
		return Reply{}, &Refusal{
			Code: CodeKeyReused, PaymentID: record.PaymentID,
			Detail: "this key was used for another request; a new request takes a new key",
		}
	case errors.Is(err, idempotency.ErrInProgress):
		return Reply{}, &InProgress{
			MerchantID: record.MerchantID, AttemptID: attemptID(record.Key),
			PaymentID: record.PaymentID, Begun: record.RequestID == op.claim.RequestID,
		}
	case errors.Is(err, idempotency.ErrKeyExpired):
		return Reply{}, &Refusal{
			Code: CodeKeyExpired, PaymentID: record.PaymentID,
			Detail: "this key was used, and its answer is no longer kept; look at the payment",
		}
	case err != nil:
		return Reply{}, fmt.Errorf("%w: %w", ErrUnknownFingerprint, err)
	}
	return Reply{
		Answer: *answer, RequestID: record.RequestID, PaymentID: record.PaymentID,
		Operation: record.Operation,
	}, nil
}

// translate says in the service's own terms why a key was not decided.
func translate(err error) error {
	switch {
	case errors.Is(err, groupcommit.ErrQueueFull):
		return fmt.Errorf("%w: %w", ErrOverloaded, err)
	case errors.Is(err, groupcommit.ErrStarted), errors.Is(err, postgres.ErrOutcomeUnknown),
		errors.Is(err, postgres.ErrNotConfirmed):
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	case errors.Is(err, groupcommit.ErrNotStarted), errors.Is(err, postgres.ErrUnavailable):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if panicked, ok := errors.AsType[*groupcommit.PanicError](err); ok {
		return fmt.Errorf("%w\n%s", err, panicked.Stack) // for the log
	}
	return err
}
