package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/httpapi"
	"github.com/paymentsvc/paymentsvc/internal/tracing"
)

// databaseFlags say which database a command works on.
type databaseFlags struct {
	DatabaseURL string `help:"Postgres connection URL." env:"DATABASE_URL" placeholder:"URL"`
}

func (f databaseFlags) check() error {
	if f.DatabaseURL == "" {
		return errors.New("DATABASE_URL (or --database-url) is required: this command never falls back to a database of its own")
	}
	return nil
}

// instanceFlags configure an instance of the service. They are texts until parse has read them all, so that
// every problem of a configuration is reported at once.
type instanceFlags struct {
	ListenAddr            string `help:"Address of the API; port 0 picks a free one and logs it." env:"LISTEN_ADDR" default:"127.0.0.1:8080"`
	AdminAddr             string `help:"Address of health, metrics and profiles, which nobody else should reach; port 0 picks a free one and logs it, off has none." env:"ADMIN_ADDR" default:"127.0.0.1:8081"`
	TLSCertFile           string `help:"Certificate of the API, with its chain, in PEM. It is read again when it changes." env:"TLS_CERT_FILE" placeholder:"FILE"`
	TLSKeyFile            string `help:"The certificate's key." env:"TLS_KEY_FILE" placeholder:"FILE"`
	IdempotencyRetention  string `help:"How long an answer is replayed to retries. (Its key is kept for ever.)" env:"IDEMPOTENCY_RETENTION" default:"720h"`
	AuthorizationLifetime string `help:"How long an authorization holds money before it is canceled." env:"AUTHORIZATION_LIFETIME" default:"168h"`
	RequestTimeout        string `help:"Longest time that a request may take." env:"REQUEST_TIMEOUT" default:"15s"`
	ShutdownTimeout       string `help:"Longest time that accepted requests get to finish after SIGTERM." env:"SHUTDOWN_TIMEOUT" default:"25s"`
	ShutdownDelay         string `help:"How long to go on serving after SIGTERM while /readyz already says no, so that load balancers turn away first." env:"SHUTDOWN_DELAY" default:"1s"`
	MaxConnections        string `help:"Most connections to the API; more are told to come back." env:"MAX_CONNECTIONS" default:"10000"`
	CommitWorkers         string `help:"Money transactions in flight at once, a connection each." env:"COMMIT_WORKERS" default:"2"`
	CommitBatchSizeMax    string `help:"Most charges in one transaction." env:"COMMIT_BATCH_SIZE_MAX" default:"512"`
	CommitQueueSizeMax    string `help:"Most requests that may wait for a transaction; more are told to come back." env:"COMMIT_QUEUE_SIZE_MAX" default:"10000"`
	RateLimitPerSecond    string `help:"Requests a second that one merchant may send to this instance. (default: no limit)" env:"RATE_LIMIT_PER_SECOND" placeholder:"NUMBER"`
	RateLimitBurst        string `help:"Requests that a merchant may send at once, after a pause. (default: as many as a second)" env:"RATE_LIMIT_BURST" placeholder:"NUMBER"`
	ReadConnections       string `help:"Database connections for everything that is not a money transaction." env:"READ_CONNECTIONS" default:"8"`
	LogLevel              string `help:"debug, info, warn or error." env:"LOG_LEVEL" default:"info"`
	AllowDataLoss         bool   `help:"Run even on a database that may lose what it has committed (fsync or synchronous_commit not on)." env:"ALLOW_DATA_LOSS"`
}

// adminOff is the admin address of an instance that has none.
const adminOff = "off"

// instanceConfig is a configuration that has been read and makes sense.
type instanceConfig struct {
	listenAddr      string
	adminAddr       string            // "": none
	certificate     *certificate      // nil: no TLS
	tracing         *tracing.Settings // nil: no tracing
	retention       time.Duration
	authorizedFor   time.Duration
	requestTimeout  time.Duration
	shutdownTimeout time.Duration
	shutdownDelay   time.Duration
	connectionsMax  int
	workers         int
	batchSizeMax    int
	queueSizeMax    int
	readConnections int
	rateLimit       httpapi.RateLimit
	logLevel        slog.Level
	allowDataLoss   bool
}

// parse reads every setting, and returns all that is wrong with them at once.
func (f instanceFlags) parse() (instanceConfig, error) {
	var p problems
	config := instanceConfig{
		listenAddr:      p.address("LISTEN_ADDR", f.ListenAddr),
		certificate:     p.certificate(f.TLSCertFile, f.TLSKeyFile),
		retention:       p.duration("IDEMPOTENCY_RETENTION", f.IdempotencyRetention, time.Second),
		authorizedFor:   p.duration("AUTHORIZATION_LIFETIME", f.AuthorizationLifetime, time.Second),
		requestTimeout:  p.duration("REQUEST_TIMEOUT", f.RequestTimeout, time.Second),
		shutdownTimeout: p.duration("SHUTDOWN_TIMEOUT", f.ShutdownTimeout, time.Second),
		shutdownDelay:   p.duration("SHUTDOWN_DELAY", f.ShutdownDelay, 0),
		connectionsMax:  p.number("MAX_CONNECTIONS", f.MaxConnections, 1_000_000),
		workers:         p.number("COMMIT_WORKERS", f.CommitWorkers, 64),
		batchSizeMax:    p.number("COMMIT_BATCH_SIZE_MAX", f.CommitBatchSizeMax, 4096),
		queueSizeMax:    p.number("COMMIT_QUEUE_SIZE_MAX", f.CommitQueueSizeMax, 1_000_000),
		readConnections: p.number("READ_CONNECTIONS", f.ReadConnections, 1000),
		rateLimit:       p.rateLimit(f.RateLimitPerSecond, f.RateLimitBurst),
		allowDataLoss:   f.AllowDataLoss,
	}
	if f.AdminAddr != adminOff {
		config.adminAddr = p.address("ADMIN_ADDR", f.AdminAddr)
	}
	var err error
	if config.tracing, err = tracing.ReadSettings(os.Getenv); err != nil {
		p = append(p, err)
	}
	if err := config.logLevel.UnmarshalText([]byte(f.LogLevel)); err != nil {
		p.add("LOG_LEVEL", f.LogLevel, "is not debug, info, warn or error")
	}
	return config, errors.Join(p...)
}

// problems collects what is wrong with a configuration.
type problems []error

func (p *problems) add(name, value, complaint string) {
	*p = append(*p, fmt.Errorf("%s: %q %s", name, value, complaint))
}

func (p *problems) duration(name, value string, least time.Duration) time.Duration {
	d, err := time.ParseDuration(value)
	switch {
	case err != nil:
		p.add(name, value, `is not a duration such as "30s" or "720h"`)
	case d < least:
		p.add(name, value, "is below "+least.String())
	}
	return d
}

func (p *problems) number(name, value string, most int) int {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > most {
		p.add(name, value, fmt.Sprintf("is not a number from 1 to %d", most))
	}
	return n
}

// rateLimit is none unless perSecond is set.
func (p *problems) rateLimit(perSecond, burst string) (limit httpapi.RateLimit) {
	const most = 1_000_000
	switch {
	case perSecond == "" && burst != "":
		p.add("RATE_LIMIT_BURST", burst, "means nothing without RATE_LIMIT_PER_SECOND")
	case perSecond != "":
		limit.PerSecond = p.number("RATE_LIMIT_PER_SECOND", perSecond, most)
		limit.Burst = limit.PerSecond
		if burst != "" {
			limit.Burst = p.number("RATE_LIMIT_BURST", burst, most)
		}
	}
	return limit
}

func (p *problems) address(name, value string) string {
	_, port, err := net.SplitHostPort(value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		p.add(name, value, "is not an address such as 127.0.0.1:8080 or :8080")
	}
	return value
}

// certificate reads the certificate of the API; nil if there is none.
func (p *problems) certificate(certFile, keyFile string) *certificate {
	if certFile == "" && keyFile == "" {
		return nil
	}
	if certFile == "" || keyFile == "" {
		*p = append(*p, errors.New("TLS_CERT_FILE and TLS_KEY_FILE: give both or neither"))
		return nil
	}
	c, err := openCertificate(certFile, keyFile)
	if err != nil {
		*p = append(*p, fmt.Errorf("TLS_CERT_FILE and TLS_KEY_FILE: %w", err))
	}
	return c
}

// attributes are the configuration, for the log. They hold no secret: of the traces' destination not even the address.
func (c instanceConfig) attributes() []any {
	adminAddr := c.adminAddr
	if adminAddr == "" {
		adminAddr = adminOff
	}
	return []any{
		"listen_addr", c.listenAddr,
		"admin_addr", adminAddr,
		"tls", c.certificate != nil,
		"tracing", c.tracing != nil,
		"idempotency_retention", c.retention.String(),
		"authorization_lifetime", c.authorizedFor.String(),
		"request_timeout", c.requestTimeout.String(),
		"shutdown_timeout", c.shutdownTimeout.String(),
		"shutdown_delay", c.shutdownDelay.String(),
		"commit_workers", c.workers,
		"commit_batch_size_max", c.batchSizeMax,
		"commit_queue_size_max", c.queueSizeMax,
		"read_connections", c.readConnections,
		"max_connections", c.connectionsMax,
		"rate_limit_per_second", c.rateLimit.PerSecond,
		"rate_limit_burst", c.rateLimit.Burst,
		"log_level", c.logLevel.String(),
		"allow_data_loss", c.allowDataLoss,
	}
}
