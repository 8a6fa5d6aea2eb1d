package app

import (
	"log/slog"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/broker"
	"github.com/paymentsvc/paymentsvc/internal/cards"
	"github.com/paymentsvc/paymentsvc/internal/httpapi"
	"github.com/paymentsvc/paymentsvc/internal/tracing"
)

// Config of an instance. Settings.Parse makes one, with the defaults that --help shows.
type Config struct {
	ListenAddr  string
	AdminAddr   string            // "": no admin listener
	Certificate *Certificate      // nil: no TLS
	Tracing     *tracing.Settings // nil: no tracing

	Retention             time.Duration // how long answers are replayed
	EventRetention        time.Duration // how long events are kept
	AuthorizationLifetime time.Duration // how long an authorization holds money
	RequestTimeout        time.Duration
	IdleTimeout           time.Duration // of a connection between two requests
	ShutdownTimeout       time.Duration
	ShutdownDelay         time.Duration // how long to go on serving while not ready

	ConnectionsMax  int // to the API
	EventStreamsMax int // of GET /events at once
	Workers         int // money transactions in flight, a database connection each
	BatchSizeMax    int // charges in one transaction
	QueueSizeMax    int // requests that may wait for a transaction
	ReadConnections int // database connections for everything else
	RateLimit       httpapi.RateLimit

	// WebhookAllowPrivate lets webhook endpoints be on this machine and in private
	// networks.
	WebhookAllowPrivate bool

	NATS      broker.Settings // no URL: no message broker
	Processor cards.Settings  // no secret key: no card processor

	LogLevel       slog.Level
	AllowDataLoss  bool // run on a database that may lose what it has committed
	ShardedUntried bool // in sharded mode, also run what was never tried there (sharded.go)
}

// attributes are the configuration for the log. They hold no secret, and so not the
// addresses of traces and of the message broker, which may hold one.
func (c *Config) attributes() []any {
	adminAddr := c.AdminAddr
	if adminAddr == "" {
		adminAddr = adminOff
	}
	return []any{
		"listen_addr", c.ListenAddr,
		"admin_addr", adminAddr,
		"tls", c.Certificate != nil,
		"tracing", c.Tracing != nil,
		"idempotency_retention", c.Retention.String(),
		"event_retention", c.EventRetention.String(),
		"authorization_lifetime", c.AuthorizationLifetime.String(),
		"request_timeout", c.RequestTimeout.String(),
		"idle_timeout", c.IdleTimeout.String(),
		"shutdown_timeout", c.ShutdownTimeout.String(),
		"shutdown_delay", c.ShutdownDelay.String(),
		"commit_workers", c.Workers,
		"commit_batch_size_max", c.BatchSizeMax,
		"commit_queue_size_max", c.QueueSizeMax,
		"read_connections", c.ReadConnections,
		"max_connections", c.ConnectionsMax,
		"max_event_streams", c.EventStreamsMax,
		"rate_limit_per_second", c.RateLimit.PerSecond,
		"rate_limit_burst", c.RateLimit.Burst,
		"webhook_allow_private_addresses", c.WebhookAllowPrivate,
		"nats", c.NATS.URL != "",
		"card_processor", c.Processor.SecretKey != "",
		"processor_timeout", c.Processor.Timeout.String(),
		"processor_resend_window", c.Processor.ResendWindow.String(),
		"log_level", c.LogLevel.String(),
		"sharded_untried", c.ShardedUntried,
		"allow_data_loss", c.AllowDataLoss,
	}
}
