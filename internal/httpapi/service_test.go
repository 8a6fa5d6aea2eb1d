package httpapi_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/httpapi"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/lab/inprocess"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// poison makes the API panic when it is asked for the account "poison", before it has a
// connection.
func poison(t *testing.T) func(*inprocess.Instance, *httpapi.Config) {
	return func(wired *inprocess.Instance, c *httpapi.Config) {
		config := wired.Pools.General.Config()
		config.ConnConfig.Tracer = poisoned{}
		pool, err := pgxpool.NewWithConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		c.Accounts = ledger.NewAccounts(pool)
	}
}

type poisoned struct{}

func (poisoned) TraceAcquireStart(
	ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData,
) context.Context {
	if route := chi.RouteContext(ctx); route != nil && route.URLParam("id") == "poison" {
		panic("SELECT secret FROM everything")
	}
	return ctx
}

func (poisoned) TraceAcquireEnd(context.Context, *pgxpool.Pool, pgxpool.TraceAcquireEndData) {}
func (poisoned) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData)             {}

func (poisoned) TraceQueryStart(
	ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData,
) context.Context {
	return ctx
}

func TestAPanicInAHandlerIsAnAnswer(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := newInstanceWith(t, db.URL, settings{api: poison(t)})
	m := newMerchant(t, db, in, in)
	for range 10 { // more than there are connections in the pool
		m.get("/accounts/poison").wantProblem("internal_error")
		m.get("/accounts/alice").want(200)
	}
	if in.Log.Count("poisoned.TraceAcquireStart") == 0 {
		t.Error("the log does not say where it happened")
	}
}

func TestWrongMethodNamesTheAllowedOnes(t *testing.T) {
	m := onOneInstance(t)
	for _, test := range []struct{ method, path, allow string }{
		{"PUT", "/payments", "GET, HEAD, POST"},
		{"POST", "/payments/not-an-id", "GET, HEAD, PATCH"},
		{"GET", "/payments/not-an-id/capture", "POST"},
		{"DELETE", "/payments/not-an-id/cancel", "POST"},
		{"DELETE", "/payments/not-an-id/refunds", "GET, HEAD, POST"},
		{"POST", "/payments/not-an-id/refunds/not-an-id", "GET, HEAD"},
		{"PATCH", "/accounts/alice", "GET, HEAD, PUT, DELETE"},
		{"POST", "/accounts/a%2Fb", "GET, HEAD, PUT, DELETE"},
		{"BREW", "/accounts/alice", "GET, HEAD, PUT, DELETE"},
		{"POST", "/accounts", "GET, HEAD"},
		{"POST", "/accounts/-not-an-id/entries", "GET, HEAD"},
		{"POST", "/events", "GET, HEAD"},
		{"DELETE", "/events/not-an-id", "GET, HEAD"},
		{"POST", "/readyz", "GET, HEAD"},
		{"PATCH", "/webhook-endpoints/-", "GET, HEAD, PUT, DELETE"},
		{"POST", "/webhook-endpoints/-/secret", "GET, HEAD, PUT"},
		{"GET", "/webhook-endpoints/-/test", "POST"},
		{"PUT", "/webhook-endpoints/-/attempts", "GET, HEAD"},
		{"GET", "/events/-/redeliver", "POST"},
		{"GET", "/processor-events/stripe", "POST"},
	} {
		a := m.send(m.first, call{method: test.method, path: test.path})
		if got := a.wantProblem("method_not_allowed").header.Get("Allow"); got != test.allow {
			a.fail("allows %q, want %q", got, test.allow)
		}
	}
}

// A path that is nearly another one is never that one.
func TestUnknownPathIsNotFound(t *testing.T) {
	m := onOneInstance(t)
	in := m.first
	for _, path := range []string{
		"/payment", "/Payments", "/payments/", "//payments", "/payments;a=b", "/./payments",
		"/accounts/../payments", "/%2e/payments", "/accounts/%2e%2e/payments", "/payments%2F",
		"/payments%00", "/payments/x/y", "/accounts/alice/", "/accounts/alice/entries/1",
	} {
		m.send(in, call{method: "POST", path: path, body: aliceToShop(1).String()}).
			wantProblem("not_found")
	}
	for _, id := range []string{"x", "pay_0", "PAY_00000000000070008000000000000000", "%00"} {
		m.get("/payments/" + id).wantProblem("not_found")
	}
	m.wantPayments(0)
}

func TestHeadIsGetWithoutABody(t *testing.T) {
	m := onOneInstance(t)
	in := m.first
	paid := m.charge("k", aliceToShop(1)).want(201)
	for _, path := range []string{
		"/accounts/alice", paid.location(), "/payments?idempotency_key=k", "/payments",
		"/accounts", "/accounts/alice/entries", "/events",
	} {
		got, head := m.get(path).want(200), m.send(in, call{method: "HEAD", path: path}).want(200)
		for _, header := range []string{"Content-Type", "Content-Length", "ETag"} {
			if head.header.Get(header) != got.header.Get(header) {
				t.Errorf("%s: %s is %q by HEAD and %q by GET", path, header,
					head.header.Get(header), got.header.Get(header))
			}
		}
		if len(head.body) != 0 {
			t.Errorf("%s has a body", path)
		}
	}
}

func TestHealthNeedsNoCredentialAndNoDatabase(t *testing.T) {
	t.Parallel()
	var whyNot atomic.Pointer[error]
	url := newStaticURL(t, func() error {
		if err := whyNot.Load(); err != nil {
			return *err
		}
		return nil
	})
	check := func(path string, status int, text string) {
		t.Helper()
		res, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		got, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != status || string(got) != text {
			t.Errorf("%s: %d %q, %v; want %d %q", path, res.StatusCode, got, err, status, text)
		}
		after := res.Header.Get("Retry-After")
		if unready := res.StatusCode == http.StatusServiceUnavailable; unready != (after != "") {
			t.Errorf("%s: %d, and Retry-After is %q", path, res.StatusCode, after)
		}
	}
	check("/livez", http.StatusOK, "ok\n")
	check("/readyz", http.StatusOK, "ready\n")
	reason := errors.New("SELECT secret FROM everything")
	whyNot.Store(&reason)
	check("/livez", http.StatusOK, "ok\n")
	check("/readyz", http.StatusServiceUnavailable, "not ready\n")
	whyNot.Store(nil)
	check("/readyz", http.StatusOK, "ready\n")
}
