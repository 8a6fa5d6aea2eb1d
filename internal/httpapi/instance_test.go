package httpapi_test

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/app"
	"github.com/paymentsvc/paymentsvc/internal/cards"
	"github.com/paymentsvc/paymentsvc/internal/httpapi"
	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/lab/contract"
	"github.com/paymentsvc/paymentsvc/lab/inprocess"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/wire"
)

// patience is for a condition that has to come true, on a machine that may be busy with
// others.
const patience = 30 * time.Second

// instance is one running service on a test's database, reached by HTTP.
type instance struct {
	*inprocess.Instance
	url  string       // "http://127.0.0.1:…"
	open atomic.Int64 // connections
}

// settings are those of cmd/paymentsvc. What is left out has the default that it has
// there.
type settings struct {
	lifetime        time.Duration // of an authorization
	retention       time.Duration
	requestTimeout  time.Duration
	headerTimeout   time.Duration
	idleTimeout     time.Duration
	connectionsMax  int
	eventStreamsMax int
	rateLimit       httpapi.RateLimit
	// privateReceivers lets webhooks be sent to this machine.
	privateReceivers bool
	processor        cards.Settings                             // zero: cards cannot be charged
	api              func(*inprocess.Instance, *httpapi.Config) // replaces a part of the API
	// writeBufferSize of the connections, in bytes; 0: what the kernel likes.
	writeBufferSize int
	// writeTimeoutMax cuts the server's time limits for writing; 0: it does not.
	writeTimeoutMax time.Duration
}

// config is a change of the defaults.
func (s settings) config(c *app.Config) {
	c.Retention = cmp.Or(s.retention, c.Retention)
	c.AuthorizationLifetime = cmp.Or(s.lifetime, c.AuthorizationLifetime)
	c.RequestTimeout = cmp.Or(s.requestTimeout, c.RequestTimeout)
	c.RateLimit = s.rateLimit
	c.EventStreamsMax = cmp.Or(s.eventStreamsMax, c.EventStreamsMax)
	c.WebhookAllowPrivate = s.privateReceivers
	c.Processor = s.processor
}

func newInstance(t *testing.T, url string) *instance {
	t.Helper()
	return newInstanceWith(t, url, settings{})
}

func newInstanceWith(t *testing.T, url string, s settings) *instance {
	t.Helper()
	wired := inprocess.New(t, url, s.config)
	in := &instance{Instance: wired}
	api := wired.Handler
	if s.api != nil {
		api = newAPI(t, wired, s.api)
	}
	in.serve(t, s, contract.Published().Comparing(t, api))
	return in
}

// newAPI is an instance's API with a part of it replaced.
func newAPI(
	t *testing.T, wired *inprocess.Instance, replace func(*inprocess.Instance, *httpapi.Config),
) http.Handler {
	t.Helper()
	config := httpapi.Config{
		Payments: wired.Payments, Accounts: wired.Accounts, Webhooks: wired.Webhooks,
		Authenticator: merchants.NewAuthenticator(wired.Pools.General),
		CardAttempts: func(ctx context.Context, f cards.Filter) ([]*cards.Attempt, error) {
			return cards.Unsettled(ctx, wired.Pools.General, f)
		},
		Ready: func() error { return nil }, RequestTimeout: 15 * time.Second,
		Logger: slog.New(slog.NewTextHandler(&wired.Log,
			&slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	replace(wired, &config)
	return httpapi.New(config)
}

// newStaticURL is the address of an API that has nothing behind it: it serves health
// and pages.
func newStaticURL(t *testing.T, ready func() error) string {
	t.Helper()
	api := httpapi.New(httpapi.Config{
		Ready: ready, RequestTimeout: 15 * time.Second, Logger: slog.New(slog.DiscardHandler),
	})
	server := httptest.NewServer(contract.Published().Comparing(t, api))
	t.Cleanup(server.Close)
	return server.URL
}

// newDownInstance is an instance whose database has gone.
func newDownInstance(t *testing.T, db *pgtest.DB) *instance {
	t.Helper()
	proxy := wire.Start(t, db.URL)
	in := newInstance(t, proxy.URL())
	proxy.Refuse()
	proxy.Cut()
	return in
}

// serve starts the server on a free port. At its end, requests that are under way are
// answered first.
func (in *instance) serve(t *testing.T, s settings, handler http.Handler) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	in.url = "http://" + listener.Addr().String()
	server := app.NewServer(handler, app.Timeouts{
		Header:  cmp.Or(s.headerTimeout, 5*time.Second),
		Request: cmp.Or(s.requestTimeout, 15*time.Second),
		Idle:    cmp.Or(s.idleTimeout, 2*time.Minute),
	}, slog.New(slog.NewTextHandler(&in.Log, nil)))
	ended := make(chan error, 1)
	limited := httpapi.LimitConnections(watched{listener, s, &in.open},
		cmp.Or(s.connectionsMax, 10_000))
	go func() { ended <- server.Serve(limited) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			_ = server.Close() // what is still open is a test's own and half-sent
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serving: %v", err)
		}
	})
}

// watched counts the connections that are open, and may keep little of an answer on its
// way, so that a client that does not read is noticed soon.
type watched struct {
	net.Listener
	settings
	open *atomic.Int64
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
	closed := sync.OnceFunc(func() { l.open.Add(-1) })
	return &watchedConn{tcp, l.writeTimeoutMax, closed}, err
}

type watchedConn struct {
	*net.TCPConn
	writeTimeoutMax time.Duration
	closed          func()
}

func (c *watchedConn) SetWriteDeadline(at time.Time) error {
	if most := time.Now().Add(c.writeTimeoutMax); c.writeTimeoutMax > 0 && at.After(most) {
		at = most
	}
	return c.TCPConn.SetWriteDeadline(at)
}

func (c *watchedConn) Close() error {
	c.closed()
	return c.TCPConn.Close()
}

// onOneInstance is a merchant of one instance with a database of its own. The test runs
// beside others.
func onOneInstance(t *testing.T) *merchant {
	t.Helper()
	t.Parallel()
	db := pgtest.New(t)
	in := newInstance(t, db.URL)
	return newMerchant(t, db, in, in)
}

// onTwoInstances is a merchant of two instances of one database. The first request of
// every key goes to one of them, and retries and all reads to the other.
func onTwoInstances(t *testing.T) *merchant {
	t.Helper()
	return withSettings(t, settings{})
}

func withSettings(t *testing.T, s settings) *merchant {
	t.Helper()
	t.Parallel()
	db := pgtest.New(t)
	return newMerchant(t, db, newInstanceWith(t, db.URL, s), newInstanceWith(t, db.URL, s))
}

// logged is the first line of the log that holds all of the texts.
func (in *instance) logged(texts ...string) string {
lines:
	for line := range strings.Lines(in.Log.String()) {
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue lines
			}
		}
		return line
	}
	return ""
}
