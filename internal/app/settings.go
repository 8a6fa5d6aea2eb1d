package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/httpapi"
	"github.com/paymentsvc/paymentsvc/internal/tracing"
)

// Settings configure an instance, by flags and the environment. They are texts until
// Parse has read them all, so that every problem of a configuration is reported at
// once.
type Settings struct {
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

// Parse reads every setting, and returns all that is wrong with them at once.
func (f Settings) Parse() (Config, error) {
	var p problems
	config := Config{
		ListenAddr:  p.address("LISTEN_ADDR", f.ListenAddr),
		Certificate: p.certificate(f.TLSCertFile, f.TLSKeyFile),
		Retention: p.duration("IDEMPOTENCY_RETENTION", f.IdempotencyRetention,
			time.Second),
		AuthorizationLifetime: p.duration("AUTHORIZATION_LIFETIME", f.AuthorizationLifetime,
			time.Second),
		RequestTimeout:  p.duration("REQUEST_TIMEOUT", f.RequestTimeout, time.Second),
		ShutdownTimeout: p.duration("SHUTDOWN_TIMEOUT", f.ShutdownTimeout, time.Second),
		ShutdownDelay:   p.duration("SHUTDOWN_DELAY", f.ShutdownDelay, 0),
		ConnectionsMax:  p.number("MAX_CONNECTIONS", f.MaxConnections, 1_000_000),
		Workers:         p.number("COMMIT_WORKERS", f.CommitWorkers, 64),
		BatchSizeMax:    p.number("COMMIT_BATCH_SIZE_MAX", f.CommitBatchSizeMax, 4096),
		QueueSizeMax:    p.number("COMMIT_QUEUE_SIZE_MAX", f.CommitQueueSizeMax, 1_000_000),
		ReadConnections: p.number("READ_CONNECTIONS", f.ReadConnections, 1000),
		RateLimit:       p.rateLimit(f.RateLimitPerSecond, f.RateLimitBurst),
		AllowDataLoss:   f.AllowDataLoss,
	}
	if f.AdminAddr != adminOff {
		config.AdminAddr = p.address("ADMIN_ADDR", f.AdminAddr)
	}
	var err error
	if config.Tracing, err = tracing.ReadSettings(context.Background()); err != nil {
		p = append(p, err)
	}
	if err := config.LogLevel.UnmarshalText([]byte(f.LogLevel)); err != nil {
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
	if _, _, err := SplitAddress(name, value); err != nil {
		*p = append(*p, err)
	}
	return value
}

// SplitAddress reads the setting called name, an address to listen on.
func SplitAddress(name, value string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return "", "", fmt.Errorf("%s: %q is not an address such as 127.0.0.1:8080 or :8080", name,
			value)
	}
	return host, port, nil
}

// certificate reads the certificate of the API; nil if there is none.
func (p *problems) certificate(certFile, keyFile string) *Certificate {
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
