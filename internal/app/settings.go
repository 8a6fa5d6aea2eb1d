package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/broker"
	"github.com/paymentsvc/paymentsvc/internal/httpapi"
	"github.com/paymentsvc/paymentsvc/internal/tracing"
)

// Settings configure an instance, by flags and the environment. They stay texts until
// Parse has read all of them, so that it can report every problem at once. Their help
// texts are in Help.
type Settings struct {
	ListenAddr  string `help:"${listen}" env:"LISTEN_ADDR" default:"127.0.0.1:8080"`
	AdminAddr   string `help:"${admin}" env:"ADMIN_ADDR" default:"127.0.0.1:8081"`
	TLSCertFile string `help:"${cert}" env:"TLS_CERT_FILE" placeholder:"FILE"`
	TLSKeyFile  string `help:"Key of the certificate." env:"TLS_KEY_FILE" placeholder:"FILE"`

	IdempotencyRetention  string `help:"${retention}" env:"IDEMPOTENCY_RETENTION" default:"720h"`
	EventRetention        string `help:"${events}" env:"EVENT_RETENTION" default:"2160h"`
	AuthorizationLifetime string `help:"${lifetime}" env:"AUTHORIZATION_LIFETIME" default:"168h"`
	RequestTimeout        string `help:"${request}" env:"REQUEST_TIMEOUT" default:"15s"`
	IdleTimeout           string `help:"${idle}" env:"IDLE_TIMEOUT" default:"620s"`
	ShutdownTimeout       string `help:"${shutdown}" env:"SHUTDOWN_TIMEOUT" default:"25s"`
	ShutdownDelay         string `help:"${delay}" env:"SHUTDOWN_DELAY" default:"1s"`

	MaxConnections     string `help:"${connections}" env:"MAX_CONNECTIONS" default:"10000"`
	MaxEventStreams    string `help:"${streams}" env:"MAX_EVENT_STREAMS" default:"100"`
	CommitWorkers      string `help:"${workers}" env:"COMMIT_WORKERS" default:"2"`
	CommitBatchSizeMax string `help:"${batch}" env:"COMMIT_BATCH_SIZE_MAX" default:"512"`
	CommitQueueSizeMax string `help:"${queue}" env:"COMMIT_QUEUE_SIZE_MAX" default:"10000"`
	RateLimitPerSecond string `help:"${rate}" env:"RATE_LIMIT_PER_SECOND" placeholder:"NUMBER"`
	RateLimitBurst     string `help:"${burst}" env:"RATE_LIMIT_BURST" placeholder:"NUMBER"`
	ReadConnections    string `help:"${reads}" env:"READ_CONNECTIONS" default:"8"`

	WebhookAllowPrivateAddresses bool `help:"${private}" env:"WEBHOOK_ALLOW_PRIVATE_ADDRESSES"`

	NatsURL       string `help:"${nats}" env:"NATS_URL" placeholder:"URL"`
	NatsCredsFile string `help:"${creds}" env:"NATS_CREDS_FILE" placeholder:"FILE"`
	NatsCAFile    string `help:"${natsca}" env:"NATS_CA_FILE" placeholder:"FILE"`

	ProcessorSettings

	LogLevel       string `help:"debug, info, warn or error." env:"LOG_LEVEL" default:"info"`
	AllowDataLoss  bool   `help:"${dataloss}" env:"ALLOW_DATA_LOSS"`
	ShardedUntried bool   `help:"${untried}" env:"SHARDED_UNTRIED"`
}

// Help are the texts that Settings name, as variables for the command-line parser.
var Help = map[string]string{
	"listen": "Address of the API. Port 0 picks a free port and logs it.",
	"admin": "Address of health, metrics and profiles, without authentication: keep it private. " +
		"Port 0 picks a free port and logs it; off turns the listener off.",
	"cert": "Certificate chain of the API, in PEM. The file is read again when it changes.",

	"stripe": "Secret key of the Stripe account that charges cards. Without it, only accounts " +
		"can be charged.",
	"stripeurl": "Another processor with Stripe's wire format. (default: Stripe's own)",
	"hooks":     "Secrets of the processor's events, separated by commas: whsec_…",
	"calltime":  "Longest time of one call to the processor. Its outcome is unknown then.",
	"resend": "How long an unanswered refund is asked for again under its key. Later a person " +
		"has to look.",
	"keywindow": "How long the processor remembers keys. PROCESSOR_RESEND_WINDOW must be " +
		"shorter.",

	"retention": "How long an answer is replayed to retries. Its key is kept for ever.",
	"events":    "How long events are kept for their readers.",
	"lifetime":  "How long an authorization holds money before it is canceled.",
	"request":   "Longest time that a request may take.",
	"idle": "How long a connection may wait for its next request. " +
		"Longer than the load balancer's own time-out for idle connections.",
	"shutdown": "Longest time that accepted requests get to finish after SIGTERM.",
	"delay": "How long the API goes on serving after SIGTERM, while /readyz already fails, " +
		"so that load balancers stop sending requests. Each connection is closed after its next " +
		"answer.",

	"connections": "Most connections to the API. Requests on further ones are answered 503.",
	"streams":     "Most streams of events at once. Further ones are answered 503.",
	"workers":     "Money transactions in flight at once. Each takes a database connection.",
	"batch":       "Most charges in one transaction.",
	"queue":       "Most requests that wait for a transaction. Further ones are answered 503.",
	"rate": "Requests per second that one merchant may send to this instance. " +
		"(default: no limit)",
	"burst": "Requests that one merchant may send at once after a pause. " +
		"(default: the number per second)",
	"reads": "Database connections for everything except money transactions.",

	"private": "Deliver webhooks to this machine and to private networks, too. With it, " +
		"merchants can send requests into the network of this instance.",
	"nats": "Address of a NATS server with JetStream, for requests by message and for events. " +
		"Without it there are no messages.",
	"creds":  "NATS credentials, such as nsc makes.",
	"natsca": "Certificate authorities of the NATS server, in PEM. (default: the system's)",

	"untried": "In sharded mode, also run what was never tried on a Citus cluster: " + untried +
		".",
	"dataloss": "Run even on a database that may lose committed data " +
		"(fsync or synchronous_commit is not on).",
}

// adminOff is the admin address of an instance that has none.
const adminOff = "off"

// Parse reads every setting. Its error names every problem.
func (f Settings) Parse() (Config, error) {
	var p problems
	config := Config{
		ListenAddr:  p.address("LISTEN_ADDR", f.ListenAddr),
		Certificate: p.certificate(f.TLSCertFile, f.TLSKeyFile),
		Retention: p.duration("IDEMPOTENCY_RETENTION", f.IdempotencyRetention,
			time.Second),
		EventRetention: p.duration("EVENT_RETENTION", f.EventRetention, time.Second),
		AuthorizationLifetime: p.duration("AUTHORIZATION_LIFETIME", f.AuthorizationLifetime,
			time.Second),
		RequestTimeout:  p.duration("REQUEST_TIMEOUT", f.RequestTimeout, time.Second),
		IdleTimeout:     p.duration("IDLE_TIMEOUT", f.IdleTimeout, time.Second),
		ShutdownTimeout: p.duration("SHUTDOWN_TIMEOUT", f.ShutdownTimeout, time.Second),
		ShutdownDelay:   p.duration("SHUTDOWN_DELAY", f.ShutdownDelay, 0),
		ConnectionsMax:  p.number("MAX_CONNECTIONS", f.MaxConnections, 1_000_000),
		EventStreamsMax: p.number("MAX_EVENT_STREAMS", f.MaxEventStreams, 100_000),
		Workers:         p.number("COMMIT_WORKERS", f.CommitWorkers, 64),
		BatchSizeMax:    p.number("COMMIT_BATCH_SIZE_MAX", f.CommitBatchSizeMax, 4096),
		QueueSizeMax:    p.number("COMMIT_QUEUE_SIZE_MAX", f.CommitQueueSizeMax, 1_000_000),
		ReadConnections: p.number("READ_CONNECTIONS", f.ReadConnections, 1000),
		RateLimit:       p.rateLimit(f.RateLimitPerSecond, f.RateLimitBurst),
		NATS:            p.nats(f.NatsURL, f.NatsCredsFile, f.NatsCAFile),
		Processor:       p.processor(&f.ProcessorSettings),
		ShardedUntried:  f.ShardedUntried,
		AllowDataLoss:   f.AllowDataLoss,

		WebhookAllowPrivate: f.WebhookAllowPrivateAddresses,
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

// problems collects the errors of a configuration.
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

// rateLimit reads the rate limit. Without perSecond there is none.
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

// SplitAddress reads the listen address in the setting called name.
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

// nats reads the settings of the message broker. Without a URL there is none. The URL
// may hold a password, so no message shows it.
func (p *problems) nats(urls, credsFile, caFile string) broker.Settings {
	settings := broker.Settings{URL: urls, CredsFile: credsFile, CAFile: caFile}
	if urls == "" {
		if credsFile != "" || caFile != "" {
			*p = append(*p, errors.New("NATS_CREDS_FILE and NATS_CA_FILE mean nothing "+
				"without NATS_URL"))
		}
		return settings
	}
	for address := range strings.SplitSeq(urls, ",") {
		parsed, err := url.Parse(strings.TrimSpace(address))
		if err != nil || parsed.Host == "" || parsed.Scheme != "nats" && parsed.Scheme != "tls" {
			*p = append(*p, errors.New("NATS_URL: it is not an address such as "+
				"nats://127.0.0.1:4222 or tls://nats.example.com"))
			break
		}
	}
	for name, file := range map[string]string{
		"NATS_CREDS_FILE": credsFile, "NATS_CA_FILE": caFile,
	} {
		if file == "" {
			continue
		}
		if _, err := os.ReadFile(file); err != nil {
			*p = append(*p, fmt.Errorf("%s: %w", name, err))
		}
	}
	return settings
}
