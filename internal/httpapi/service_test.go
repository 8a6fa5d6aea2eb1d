package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// One charge panics, inside a transaction that carries others.
func TestAPanicFailsItsOwnChargeAndNoOther(t *testing.T) {
	poisoned := &poison{}
	withSettings(t, settings{workers: 1, tracer: poisoned}, func(t *testing.T, m *merchant) {
		poison := aliceToShop(1).with("description", "poison pill")
		const crowd, culprit = 16, 8
		// The charges gather behind one that is held up, and so share its next transaction. Should the poison have come
		// too late for that one time, there is the next.
		rounds := 0
		for inCompany := false; !inCompany; rounds++ {
			before := poisoned.panics.Load()
			answers := m.gatherBehindOne(fmt.Sprint("busy ", rounds), crowd, func(i int) *answer {
				if i == culprit {
					return m.charge("poison", poison)
				}
				return m.charge(fmt.Sprint("neighbour ", rounds, " ", i), aliceToShop(1))
			})
			for i, a := range answers {
				if i == culprit {
					a.wantProblem(http.StatusInternalServerError, "internal_error").wantFresh()
				} else {
					a.want(http.StatusCreated).wantFresh()
				}
			}
			inCompany = poisoned.panics.Load()-before > 1 // with the others, and again when they had been parted
		}
		m.wantPayments(rounds * crowd)
		m.retry("poison", poison).wantProblem(http.StatusInternalServerError, "internal_error")
		m.charge("the worker lives", aliceToShop(1)).want(http.StatusCreated)

		healthy := newInstance(t, m.db.URL)
		cured := m.chargeOn(healthy, "poison", poison.String()).want(http.StatusCreated).wantFresh()
		m.retry("poison", poison).wantReplayOf(cured)
		m.wantBalance("shop", int64(rounds*crowd)+2)
	})
}

// gatherBehindOne sends n requests to the first instance while its one worker is busy with a charge of a cent.
func (m *merchant) gatherBehindOne(key string, n int, send func(i int) *answer) []*answer {
	m.t.Helper()
	release := m.hold("alice")
	busy, others := make(chan *answer, 1), make(chan []*answer, 1)
	go func() { busy <- m.charge(key, aliceToShop(1)) }()
	m.awaitInFlight(1)
	go func() { others <- atOnce(n, send) }()
	await(m.t, "all have arrived", func() bool { return m.first.inFlight.Load() == int64(n+1) })
	release()
	(<-busy).want(http.StatusCreated)
	return <-others
}

// poison panics on the way to the database: in a handler that looks for the account "poison", and in a
// transaction that charges for a "poison pill".
type poison struct{ panics atomic.Int64 }

func (p *poison) act() {
	p.panics.Add(1)
	panic("SELECT secret FROM everything")
}

func (p *poison) TraceAcquireStart(
	ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData,
) context.Context {
	if route := chi.RouteContext(ctx); route != nil && route.URLParam("id") == "poison" {
		p.act()
	}
	return ctx
}

func (p *poison) TraceBatchStart(
	ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData,
) context.Context {
	for _, query := range data.Batch.QueuedQueries {
		for _, arg := range query.Arguments {
			if texts, ok := arg.([]string); ok && slices.Contains(texts, "poison pill") {
				p.act()
			}
		}
	}
	return ctx
}

func (*poison) TraceAcquireEnd(context.Context, *pgxpool.Pool, pgxpool.TraceAcquireEndData) {}
func (*poison) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData)         {}
func (*poison) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)             {}
func (*poison) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData)             {}

func (*poison) TraceQueryStart(
	ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData,
) context.Context {
	return ctx
}

// The same in the handler itself.
func TestAPanicInAHandlerIsAnAnswer(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := newInstanceWith(t, db.URL, settings{tracer: &poison{}})
	m := newMerchant(t, db, in, in)
	for range 10 { // more than there are connections in the pool
		m.get("/accounts/poison").wantProblem(http.StatusInternalServerError, "internal_error")
		m.get("/accounts/alice").want(http.StatusOK)
	}
	if in.log.count("(*poison).act") == 0 {
		t.Error("the log does not say where it happened")
	}
}

// SECURITY 24.
func TestAWrongMethodIsToldTheRightOnes(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := newInstance(t, db.URL)
	m := newMerchant(t, db, in, in)
	for _, test := range []struct{ method, path, allow string }{
		{"PUT", "/payments", "GET, HEAD, POST"},
		{"DELETE", "/payments", "GET, HEAD, POST"},
		{"PUT", "/payments/pay_00000000000070008000000000000000", "GET, HEAD, PATCH"},
		{"POST", "/payments/not-an-id", "GET, HEAD, PATCH"},
		{"GET", "/payments/not-an-id/capture", "POST"},
		{"DELETE", "/payments/not-an-id/cancel", "POST"},
		{"DELETE", "/payments/not-an-id/refunds", "GET, HEAD, POST"},
		{"POST", "/payments/not-an-id/refunds/not-an-id", "GET, HEAD"},
		{"PATCH", "/accounts/alice", "GET, HEAD, PUT, DELETE"},
		{"POST", "/accounts/missing", "GET, HEAD, PUT, DELETE"},
		{"POST", "/accounts/-not-an-id", "GET, HEAD, PUT, DELETE"},
		{"POST", "/accounts/a%2Fb", "GET, HEAD, PUT, DELETE"},
		{"OPTIONS", "/accounts/alice", "GET, HEAD, PUT, DELETE"},
		{"BREW", "/accounts/alice", "GET, HEAD, PUT, DELETE"},
		{"POST", "/accounts", "GET, HEAD"},
		{"DELETE", "/accounts/alice/entries", "GET, HEAD"},
		{"POST", "/accounts/-not-an-id/entries", "GET, HEAD"},
		{"POST", "/livez", "GET, HEAD"},
		{"POST", "/readyz", "GET, HEAD"},
	} {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			a := m.in(t).send(in, call{method: test.method, path: test.path}).wantProblem(http.StatusMethodNotAllowed, "method_not_allowed")
			if got := a.header.Get("Allow"); got != test.allow {
				t.Errorf("Allow is %q, want %q", got, test.allow)
			}
		})
	}
}

// SECURITY 25: a path that is nearly another one never is that one.
func TestAnUnknownPathIsNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := newInstance(t, db.URL)
	m := newMerchant(t, db, in, in)
	for _, path := range []string{
		"/", "/payment", "/Payments", "/payments/", "//payments", "/payments;a=b", "/./payments", "/accounts/../payments", "/%2e/payments",
		"/accounts/%2e%2e/payments", "/payments%2F", "/v1/payments", "/payments%00", "/payments/x/y", "/accounts/", "//accounts",
		"/accounts/alice/", "/accounts/alice/entry", "/accounts/alice/entries/", "/accounts/alice/entries/1",
	} {
		t.Run(path, func(t *testing.T) {
			m.in(t).send(in, call{
				method: http.MethodPost, path: path, body: aliceToShop(1).String(), header: http.Header{"Idempotency-Key": nil},
			}).wantProblem(http.StatusNotFound, "not_found")
		})
	}
	t.Run("with a method that nothing has", func(t *testing.T) {
		m.in(t).send(in, call{method: "BREW", path: "/nothing"}).wantProblem(http.StatusNotFound, "not_found")
	})
	for _, id := range []string{
		"x", "pay_", "pay_0", "pay_0000000000007000800000000000000G", "PAY_00000000000070008000000000000000", "%00",
	} {
		m.get("/payments/"+id).wantProblem(http.StatusNotFound, "not_found")
	}
	m.wantPayments(0)
}

// Row 16 of the contract.
func TestEveryAnswerToAKeyedRequestEchoesItsKey(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := newInstance(t, db.URL)
	m := newMerchant(t, db, in, in)
	for _, key := range []string{"k", `"k"`, `"a\"b"`, "two  words", strings.Repeat("k", 300), "schlüssel", `"unterminated`} {
		keyed := http.Header{"Idempotency-Key": {key}}
		for _, c := range []call{
			{method: http.MethodPost, path: "/payments", header: keyed, body: aliceToShop(1).String()},
			{method: http.MethodPost, path: "/payments", header: keyed, body: aliceToShop(2).String()},
			{method: http.MethodPost, path: "/payments", header: http.Header{"Idempotency-Key": {key}, "Authorization": nil}, body: "{}"},
			{method: http.MethodPost, path: "/payments", header: keyed, body: "{"},
			{method: http.MethodPut, path: "/payments", header: keyed},
			{method: http.MethodPost, path: "/nothing", header: keyed},
			{method: http.MethodGet, path: "/accounts/alice", header: keyed},
		} {
			m.send(in, c) // which checks the echo
		}
	}
}

func TestHeadIsGetWithoutABody(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := newInstance(t, db.URL)
	m := newMerchant(t, db, in, in)
	paid := m.charge("k", aliceToShop(1)).want(http.StatusCreated)
	for _, path := range []string{
		"/accounts/alice", paid.header.Get("Location"), "/payments?idempotency_key=k", "/payments", "/accounts", "/accounts/alice/entries",
	} {
		got, head := m.get(path).want(http.StatusOK), m.send(in, call{method: http.MethodHead, path: path}).want(http.StatusOK)
		for _, header := range []string{"Content-Type", "Content-Length", "ETag"} {
			if head.header.Get(header) != got.header.Get(header) {
				t.Errorf("%s: %s is %q by HEAD and %q by GET", path, header, head.header.Get(header), got.header.Get(header))
			}
		}
		if len(head.body) != 0 {
			t.Errorf("%s has a body", path)
		}
	}
}

func TestHealthIsToldToEverybodyAndWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	var whyNot atomic.Pointer[error]
	in := newInstanceWith(t, "postgres://nobody@127.0.0.1:1/nothing?sslmode=disable", settings{ready: func() error {
		if err := whyNot.Load(); err != nil {
			return *err
		}
		return nil
	}})
	client := newClient(t)
	check := func(path string, status int, text string) {
		t.Helper()
		res, err := client.Get(in.url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		got, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != status || string(got) != text {
			t.Errorf("%s: %d %q, %v; want %d %q", path, res.StatusCode, got, err, status, text)
		}
		if unready := res.StatusCode == http.StatusServiceUnavailable; unready != (res.Header.Get("Retry-After") != "") {
			t.Errorf("%s: %d, and Retry-After is %q", path, res.StatusCode, res.Header.Get("Retry-After"))
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
