package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/httpapi"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/inprocess"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// exchanges are what an instance has told of its requests.
type exchanges struct {
	mu   sync.Mutex // guards list
	list []httpapi.Exchange
}

func (e *exchanges) add(x *httpapi.Exchange) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, *x)
}

// of is the exchange with that id. An answer arrives before it is told of.
func (e *exchanges) of(t *testing.T, requestID string) (x httpapi.Exchange) {
	t.Helper()
	return e.where(t, "the exchange "+requestID+" is told of",
		func(x *httpapi.Exchange) bool { return x.RequestID == requestID })
}

// where waits for an exchange for which the condition holds.
func (e *exchanges) where(
	t *testing.T, what string, holds func(*httpapi.Exchange) bool,
) (x httpapi.Exchange) {
	t.Helper()
	await.Until(t, patience, what, func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, x = range e.list {
			if holds(&x) {
				return true
			}
		}
		return false
	})
	return x
}

func TestExchangeIsReportedByItsRoute(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	var told exchanges
	in := newInstanceWith(t, db.URL,
		settings{api: func(wired *inprocess.Instance, c *httpapi.Config) {
			poison(t)(wired, c)
			c.Answered = told.add
		}})
	m := newMerchant(t, db, in, in)
	paid := m.charge("k", aliceToShop(1))
	for _, test := range []struct {
		name   string
		answer *answer
		want   httpapi.Exchange
	}{
		{
			"a charge", paid, httpapi.Exchange{
				Method: "POST", Route: "/payments", Status: 201, Operation: "charge",
			},
		},
		{
			"its retry", m.retry("k", aliceToShop(1)), httpapi.Exchange{
				Method: "POST", Route: "/payments", Status: 201, Operation: "charge",
				Replayed: true, OriginalRequestID: paid.requestID(),
			},
		},
		{
			"another request", m.retry("k", aliceToShop(2)), httpapi.Exchange{
				Method: "POST", Route: "/payments", Status: 422, Code: "idempotency_key_reused",
			},
		},
		{
			"a decline", m.charge("poor", aliceToShop(aliceHas*2)),
			httpapi.Exchange{
				Method: "POST", Route: "/payments", Status: 402, Code: "insufficient_funds",
				Operation: "charge",
			},
		},
		{
			"a refund", m.post("r", paid.location()+"/refunds", ""),
			httpapi.Exchange{
				Method: "POST", Route: "/payments/{id}/refunds", Status: 201, Operation: "refund",
			},
		},
		{
			"the payment", m.get(paid.location()),
			httpapi.Exchange{Method: "GET", Route: "/payments/{id}", Status: 200},
		},
		{
			"a read", m.get("/accounts/alice"),
			httpapi.Exchange{Method: "GET", Route: "/accounts/{id}", Status: 200},
		},
		{
			"nothing there", m.get("/nothing/here"),
			httpapi.Exchange{Method: "GET", Status: 404, Code: "not_found"},
		},
		{
			"no such method", m.send(in, call{method: "BREW", path: "/accounts/alice"}),
			httpapi.Exchange{Method: "_OTHER", Status: 405, Code: "method_not_allowed"},
		},
		{
			"a panic", m.get("/accounts/poison"),
			httpapi.Exchange{
				Method: "GET", Route: "/accounts/{id}", Status: 500,
				Code: "internal_error",
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := told.of(t, test.answer.header.Get("Request-Id"))
			if got.Duration <= 0 || got.Duration > time.Minute {
				t.Errorf("it took %v", got.Duration)
			}
			want := test.want
			want.RequestID, want.Duration = got.RequestID, got.Duration
			if want.Route != "" {
				want.MerchantID = m.id
			}
			want.Bytes = len(test.answer.body)
			if strings.HasPrefix(want.Route, "/payments") {
				want.PaymentID = test.answer.paymentAbout()
			}
			if got != want {
				t.Errorf("told\n%+v, want\n%+v", got, want)
			}
			line := in.logged("request_id=" + want.RequestID)
			for _, part := range []string{
				"level=INFO", "operation=" + want.Operation, "payment_id=" + want.PaymentID,
				"original_request_id=" + want.OriginalRequestID, "duration_seconds=",
				"result=" + map[bool]string{true: "declined", false: "done"}[want.Status == 402],
			} {
				if want.Operation != "" && !strings.Contains(line, part) &&
					!strings.HasSuffix(part, "=") {
					t.Errorf("the log has no %s: %s", part, line)
				}
			}
		})
	}
}

// A client that hangs up while its request waits for a lock is counted apart from the
// service's faults. Its charge is made, or never begun.
func TestHungUpClientIsNoServerError(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	var told exchanges
	in := newInstanceWith(t, db.URL, settings{
		api: func(_ *inprocess.Instance, c *httpapi.Config) { c.Answered = told.add },
	})
	m := newMerchant(t, db, in, in)
	releaseCharge := m.hold("alice")
	tx, err := db.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	release := func() { _ = tx.Rollback(context.Background()) }
	t.Cleanup(release)
	if _, err := tx.Exec(t.Context(), `
		SELECT FROM accounts WHERE id = 'shop' FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	order := aliceToShop(1).with("destination_account", "world")
	charge := m.headOfCharge(len(order.String()), "Idempotency-Key: k") + order.String()
	const terms = `{"currency":"USD"}`
	put := strings.Replace(m.headOfCharge(len(terms)), "POST /payments", "PUT /accounts/shop", 1) +
		terms
	for i, row := range []struct{ request, route string }{
		{charge, "/payments"}, {put, "/accounts/{id}"},
	} {
		conn := m.connect(in)
		if _, err := conn.Write([]byte(row.request)); err != nil {
			t.Fatal(err)
		}
		m.awaitInFlight(1)
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		x := told.where(t, "the hang-up is told of", func(x *httpapi.Exchange) bool {
			return x.Route == row.route && x.Status >= 400
		})
		if x.Status != 499 || x.Code != "" {
			t.Fatalf("told %+v, want the status 499 and no problem", x)
		}
		await.Until(t, patience, "it is logged at info", func() bool {
			return in.logged("request_id="+x.RequestID, "level=INFO", "status=499") != ""
		})
		if i == 0 {
			releaseCharge()
			m.awaitInFlight(0)
		}
	}
	release()
	if line := in.logged("level=ERROR"); line != "" {
		t.Error(line)
	}
	m.charge("k", order).want(201)
	m.wantBalance("alice", aliceHas-1)
}

// The log level is debug, so everything that is ever logged is looked at.
func TestNoTextOfACallerIsLogged(t *testing.T) {
	m := onOneInstance(t)
	in := m.first
	const canary = "canary"
	pair := map[string]string{canary: canary}
	m.put(canary+"-account",
		body{"currency": "USD", "name": canary, "metadata": pair}.String()).want(201)
	charge := aliceToShop(1).with("reference", canary+" reference").with("metadata", pair).
		with("description", canary+" text").with("destination_account", canary+"-account")
	key := canary + uuid.NewString()
	last := m.charge(key, charge).want(201)
	for i, b := range []body{
		charge, charge.with("amount", 2), charge.with("amount", canary), charge.with(canary, 1),
		charge.with("currency", canary),
		charge.with("source_account", canary), charge.with("amount", aliceHas*2),
	} {
		m.charge(key, b)
		m.charge(key+fmt.Sprint(i), b)
	}
	m.get("/payments?idempotency_key=" + key)
	m.get("/payments?" + canary + "=" + canary)
	m.get("/accounts/" + canary + "-account")
	m.get("/" + canary)
	m.as("sk_" + canary).get("/accounts/alice")
	m.send(in, call{path: "/accounts/alice?key=" + canary, header: http.Header{
		"Authorization": {canary}, "Cookie": {canary}, "X-Forwarded-For": {canary},
		"User-Agent": {canary},
	}})
	m.chargeOn(in, canary, "{\""+canary)
	// What Postgres reports about a row that it refuses shows the row.
	m.forge(0, `ALTER TABLE payments ADD CONSTRAINT poison CHECK (description <> 'poison')`)
	m.charge("poisoned "+key, aliceToShop(1).with("description", "poison").
		with("reference", canary)).wantProblem("internal_error")
	final := m.get(last.location()).want(200)
	await.Until(t, patience, "the last request is logged", func() bool {
		return in.Log.Count(final.header.Get("Request-Id")) == 1
	})

	if n := in.Log.Count(canary); n > 0 {
		t.Errorf("what callers wrote is in the log %d times", n)
	}
	if in.Log.Count(
		"request_id="+last.header.Get("Request-Id")+" method=POST route=/payments status=201",
	) != 1 {
		t.Error("the log does not have one line about the charge")
	}
}

// What the service is at fault for is an error in the log; its callers' mistakes, and
// probes, are not.
func TestOnlyTheServicesOwnFailuresAreLoggedAsErrors(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := newInstanceWith(t, db.URL,
		settings{api: func(wired *inprocess.Instance, c *httpapi.Config) {
			poison(t)(wired, c)
			c.Ready = func() error { return http.ErrServerClosed }
		}})
	m := newMerchant(t, db, in, in)
	logged := func(header http.Header, level string) {
		t.Helper()
		id := "request_id=" + header.Get("Request-Id")
		await.Until(t, patience, "it is logged", func() bool { return in.Log.Count(id) > 0 })
		if in.logged(id, "level="+level) == "" {
			t.Errorf("it is logged as %s, not as %s", in.logged(id), level)
		}
	}
	logged(m.get("/accounts/alice").want(200).header, "DEBUG")
	logged(m.get("/accounts/nobody").want(404).header, "DEBUG")
	logged(m.charge("k", aliceToShop(aliceHas*2)).want(402).header, "INFO")
	probe, err := m.caller.HTTP.Get(in.url + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Body.Close()
	logged(probe.Header, "DEBUG")
	logged(m.get("/accounts/poison").want(500).header, "ERROR")
}
