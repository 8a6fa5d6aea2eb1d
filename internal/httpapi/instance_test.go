package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/app"
	"github.com/paymentsvc/paymentsvc/internal/httpapi"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// instance is one running service on a test's database, wired as cmd/paymentsvc wires it and reached by HTTP.
type instance struct {
	url      string // "http://127.0.0.1:…"
	log      *logBuffer
	payments *payments.Service // for what its background worker does
	open     atomic.Int64      // connections
	inFlight atomic.Int64      // requests that have arrived and are not answered yet
	stop     func()            // ends it, as often as it is called
}

// settings are those of cmd/paymentsvc. What is left out has the default that it has there.
type settings struct {
	lifetime       time.Duration // of an authorization
	retention      time.Duration
	requestTimeout time.Duration
	headerTimeout  time.Duration
	idleTimeout    time.Duration
	connectionsMax int
	workers        int
	queueSizeMax   int
	tracer         pgx.QueryTracer // of the statements
	ready          func() error
	rateLimit      httpapi.RateLimit
	answered       func(*httpapi.Exchange)
	// uncompared leaves out the comparison with the published contract, for a test whose thousands of exchanges are all of other
	// forms, and a minute's work to compare.
	uncompared bool
	// writeBufferSize of the connections, in bytes; 0: what the kernel likes.
	writeBufferSize int
}

func (s settings) complete() settings {
	if s.retention == 0 {
		s.retention = 720 * time.Hour
	}
	if s.lifetime == 0 {
		s.lifetime = 168 * time.Hour
	}
	if s.requestTimeout == 0 {
		s.requestTimeout = 15 * time.Second
	}
	if s.headerTimeout == 0 {
		s.headerTimeout = 5 * time.Second
	}
	if s.idleTimeout == 0 {
		s.idleTimeout = 2 * time.Minute
	}
	if s.connectionsMax == 0 {
		s.connectionsMax = 10_000
	}
	if s.workers == 0 {
		s.workers = 2
	}
	if s.queueSizeMax == 0 {
		s.queueSizeMax = 10_000
	}
	if s.ready == nil {
		s.ready = func() error { return nil }
	}
	return s
}

func newInstance(t *testing.T, url string) *instance {
	t.Helper()
	return newInstanceWith(t, url, settings{})
}

func newInstanceWith(t *testing.T, url string, s settings) *instance {
	t.Helper()
	s = s.complete()
	pools, err := postgres.Open(context.Background(), postgres.Options{URL: url, GeneralSize: 4, MoneySize: s.workers, Tracer: s.tracer})
	if err != nil {
		t.Fatal(err)
	}
	in := &instance{log: &logBuffer{}}
	logger := slog.New(slog.NewTextHandler(in.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	service := payments.New(payments.Config{
		Pools: pools, Retention: s.retention, AuthorizationLifetime: s.lifetime, Workers: s.workers, BatchSizeMax: 512,
		QueueSizeMax: s.queueSizeMax, Timeout: 10 * time.Second, Logger: logger,
	})
	in.payments = service
	authenticator := merchants.NewAuthenticator(pools.General)
	api := httpapi.New(httpapi.Config{
		Payments: service, Accounts: ledger.NewAccounts(pools.General), Authenticator: authenticator, RateLimit: s.rateLimit,
		Ready: s.ready, RequestTimeout: s.requestTimeout, Logger: logger,
		Answered: s.answered,
	})
	if !s.uncompared {
		api = published().comparing(t, api)
	}
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in.inFlight.Add(1)
		defer in.inFlight.Add(-1)
		api.ServeHTTP(w, r)
	})
	stopServer := in.serve(t, s, counted, logger)
	in.stop = sync.OnceFunc(func() {
		stopServer()
		service.Close()
		pools.Close()
	})
	t.Cleanup(in.stop)
	return in
}

// serve starts the server on a free port. When it is stopped, requests that are under way are answered first.
func (in *instance) serve(t *testing.T, s settings, handler http.Handler, logger *slog.Logger) (stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	in.url = "http://" + listener.Addr().String()
	listener = watched{listener, s.writeBufferSize, &in.open}
	server := app.NewServer(handler, app.Timeouts{
		Header: s.headerTimeout, Request: s.requestTimeout, Idle: s.idleTimeout,
	}, logger)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(httpapi.LimitConnections(listener, s.connectionsMax)) }()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			_ = server.Close() // what is still open is a test's own and half-sent
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serving: %v", err)
		}
	}
}

// watched counts the connections that are open, and may keep little of an answer on its way, so that a client that does not
// read is noticed soon.
type watched struct {
	net.Listener
	writeBufferSize int // 0: what the kernel likes
	open            *atomic.Int64
}

func (l watched) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tcp := conn.(*net.TCPConn)
	if l.writeBufferSize > 0 {
		err = tcp.SetWriteBuffer(l.writeBufferSize)
	}
	l.open.Add(1)
	return &watchedConn{TCPConn: tcp, closed: sync.OnceFunc(func() { l.open.Add(-1) })}, err
}

type watchedConn struct {
	*net.TCPConn
	closed func()
}

func (c *watchedConn) Close() error {
	c.closed()
	return c.TCPConn.Close()
}

// onOneInstanceAndAcrossTwo runs a test twice: with every request on one instance, and with each key's first request on
// one instance and its retries on another of the same database.
func onOneInstanceAndAcrossTwo(t *testing.T, test func(t *testing.T, m *merchant)) {
	t.Helper()
	withSettings(t, settings{}, test)
}

func withSettings(t *testing.T, s settings, test func(t *testing.T, m *merchant)) {
	t.Helper()
	t.Parallel()
	db := pgtest.New(t)
	a, b := newInstanceWith(t, db.URL, s), newInstanceWith(t, db.URL, s)
	for _, way := range []struct {
		name         string
		first, other *instance
	}{
		{"on one instance", a, a},
		{"across two instances", a, b},
	} {
		t.Run(way.name, func(t *testing.T) {
			test(t, newMerchant(t, db, way.first, way.other))
		})
	}
}

// logBuffer is what an instance has logged.
type logBuffer struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (b *logBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(line)
}

// count is how many lines hold the text.
func (b *logBuffer) count(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), text)
}

// line is the first one that holds all of the texts.
func (b *logBuffer) line(texts ...string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
lines:
	for line := range strings.Lines(b.text.String()) {
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue lines
			}
		}
		return line
	}
	return ""
}

// await waits until the condition holds.
func await(t *testing.T, condition string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s", condition)
		}
	}
}
