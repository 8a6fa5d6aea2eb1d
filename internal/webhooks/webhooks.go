package webhooks

import (
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
)

// Config of a Service. Every field but Sharded and AllowPrivateAddresses is required.
type Config struct {
	Pool      *pgxpool.Pool
	Feed      *outbox.Feed
	Committed *outbox.Signal // something was committed by this instance
	Busy      func() bool    // charges wait for the database
	Schedule  Schedule
	Sharded   bool // the database's mode, see package postgres
	// AllowPrivateAddresses lets receivers be on this machine and in private networks.
	AllowPrivateAddresses bool
	Logger                *slog.Logger
}

// Schedule is when deliveries are tried.
type Schedule struct {
	First   time.Duration // ceiling of the wait after the first failure; it doubles
	Longest time.Duration // ceiling of every wait
	GiveUp  time.Duration // a failed delivery whose next try would be later has failed
	Timeout time.Duration // of one try, with its answer
	Lease   time.Duration // of a delivery; longer than Timeout
	Poll    time.Duration // how often an instance looks for work of others
}

// DefaultSchedule tries about thirty times in three days.
var DefaultSchedule = Schedule{
	First:   5 * time.Second,
	Longest: 8 * time.Hour,
	GiveUp:  72 * time.Hour,
	Timeout: 15 * time.Second,
	Lease:   time.Minute,
	Poll:    time.Second,
}

// Service keeps endpoints and delivers events to them.
type Service struct {
	pool      *pgxpool.Pool
	feed      *outbox.Feed
	committed *outbox.Signal
	busy      func() bool
	schedule  Schedule
	sharded   bool
	client    *http.Client
	logger    *slog.Logger

	due    outbox.Signal // there are new deliveries
	counts counts
}

// New makes the service. Its work is done by FanOut and Deliver.
func New(c Config) *Service {
	return &Service{
		pool: c.Pool, feed: c.Feed, committed: c.Committed, busy: c.Busy, schedule: c.Schedule,
		sharded: c.Sharded, logger: c.Logger,
		client: newClient(c.Schedule.Timeout, c.AllowPrivateAddresses),
	}
}

// Close closes idle connections to receivers.
func (s *Service) Close() { s.client.CloseIdleConnections() }

type counts struct {
	delivered, retried, givenUp, cursorsLost atomic.Int64
	oldestDue                                atomic.Int64 // nanoseconds
}

// Stats are counts of this instance since its start.
type Stats struct {
	Delivered   int64         // tries that the receiver took
	Retried     int64         // tries that failed, of deliveries that go on
	GivenUp     int64         // deliveries that failed for good
	CursorsLost int64         // see FanOut
	OldestDue   time.Duration // how late the oldest due delivery is, of all instances
}

// Stats are the counts so far.
func (s *Service) Stats() Stats {
	return Stats{
		Delivered:   s.counts.delivered.Load(),
		Retried:     s.counts.retried.Load(),
		GivenUp:     s.counts.givenUp.Load(),
		CursorsLost: s.counts.cursorsLost.Load(),
		OldestDue:   time.Duration(s.counts.oldestDue.Load()),
	}
}
