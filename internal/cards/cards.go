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

	// callsMax is how many attempts an instance works on at once. Each needs a
	// connection to the processor, and between its writes none to the database.
	callsMax = 2048
	// leaseBatchSize is how many due attempts an instance leases in one statement.
	leaseBatchSize = 64
	// probeBatchSize is how many Recover leases in all while the processor is away.
	probeBatchSize = 8
)

// BeginLease is the first lease of an attempt, which begins with its row. Within it, the
// instance that has begun the attempt renews the lease. It is short, because the
// instance may die first, or the caller may leave before Await.
const BeginLease = 2 * time.Second

// LeaseTime is how long a lease lasts: for one call of the given time limit, and for the
// writes around it.
func LeaseTime(callTimeout time.Duration) time.Duration {
	return callTimeout + leaseMargin
}

// Settings name the account at the processor.
type Settings struct {
	SecretKey      string // "": there is no processor
	URL            string // "": Stripe's own
	WebhookSecrets []string
	Timeout        time.Duration // of one call
	// ResendWindow is how long after its attempt began a refund may be asked for again.
	// It is shorter than the time for which the processor remembers keys.
	ResendWindow time.Duration
}

// Config of a Service.
type Config struct {
	Pool      *pgxpool.Pool
	Payments  *payments.Service
	Processor *stripe.Client
	Settings  Settings
	Sharded   bool // the database's mode, see package postgres
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
	sharded      bool
	logger       *slog.Logger

	waits   *waits
	places  places
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
		sharded:      config.Sharded,
		logger:       config.Logger,
		places:       places{ofMerchant: map[int64]int{}},
		waits:        newWaits(config),
	}
	err := s.pool.QueryRow(ctx, `SELECT id FROM processor_installation`).Scan(&s.installation)
	if err != nil {
		return nil, fmt.Errorf("reading the id of the installation: %w", err)
	}
	s.running, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Close ends the service. It interrupts the calls, and makes their attempts due at once,
// for other instances.
func (s *Service) Close() {
	s.stop()
	s.places.close()
	s.waits.close()
}
