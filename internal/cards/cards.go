package cards

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

const (
	// writeTimeout is for one write to an attempt.
	writeTimeout = 2 * time.Second
	// leaseMargin is what a lease has beyond one call and the writes around it.
	leaseMargin = 2 * writeTimeout

	// callsMax are the attempts that an instance works on at once. Each takes a connection to
	// the processor, and none to the database.
	callsMax = 2048
	// callsMaxOfMerchant leaves room for the others when one merchant's calls hang.
	callsMaxOfMerchant = callsMax / 2
	// leaseBatchSize is how many due attempts an instance takes at once.
	leaseBatchSize = 64
)

// BeginLease is how long a new attempt is left to the instance that has begun it, before
// that instance takes a whole lease. It is short: a caller may leave at this moment, or the
// instance may die.
const BeginLease = 2 * time.Second

// LeaseTime is how long an attempt is left to one instance, which makes a call of at most
// that time under it.
func LeaseTime(callTimeout time.Duration) time.Duration {
	return callTimeout + leaseMargin
}

// Settings name the account at the processor.
type Settings struct {
	SecretKey      string // "": there is no processor
	URL            string // "": Stripe's own
	WebhookSecrets []string
	Timeout        time.Duration // of one call
	// ResendWindow is how long after its beginning a refund may be asked for again. It is
	// shorter than the time that the processor remembers keys.
	ResendWindow time.Duration
}

// Config of a Service.
type Config struct {
	Pool      *pgxpool.Pool
	Payments  *payments.Service
	Processor *stripe.Client
	Settings  Settings
	Logger    *slog.Logger
}

// Service works on attempts. Its methods may be called from any goroutine, of any number
// of instances on one database.
type Service struct {
	pool         *pgxpool.Pool
	payments     *payments.Service
	processor    *stripe.Client
	installation uuid.UUID
	timeout      time.Duration
	leaseTime    time.Duration
	resendWindow time.Duration
	logger       *slog.Logger

	waits   *waits
	slots   slots
	watched atomic.Pointer[Stats] // nil: not yet
	running context.Context       // ends when the service does
	stop    context.CancelFunc
}

// New makes the service. Close ends it.
func New(ctx context.Context, config Config) (*Service, error) {
	s := &Service{
		pool:         config.Pool,
		payments:     config.Payments,
		processor:    config.Processor,
		timeout:      config.Settings.Timeout,
		leaseTime:    LeaseTime(config.Settings.Timeout),
		resendWindow: config.Settings.ResendWindow,
		logger:       config.Logger,
		slots:        slots{ofMerchant: map[int64]int{}},
		waits:        newWaits(config.Pool, config.Logger),
	}
	err := s.pool.QueryRow(ctx, `SELECT id FROM processor_installation`).Scan(&s.installation)
	if err != nil {
		return nil, fmt.Errorf("reading the id of the installation: %w", err)
	}
	s.running, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Close stops the work. What is at the processor at this moment is left to other
// instances, at once.
func (s *Service) Close() {
	s.stop()
	s.slots.close()
	s.waits.close()
}
