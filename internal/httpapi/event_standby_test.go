package httpapi_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// eventReadsAtOnce is how many connections pages of the feed and single events may take.
const eventReadsAtOnce = 2

// onDurable is a merchant on a server of its own, which may get a standby.
func onDurable(t *testing.T, s settings) (_ *merchant, adminURL string) {
	t.Helper()
	cluster := pgtest.Durable(t, nil)
	pool, err := pgxpool.New(t.Context(), cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	db := &pgtest.DB{URL: cluster.URL(), AdminURL: cluster.AdminURL(), Pool: pool}
	in := newInstanceWith(t, db.URL, s)
	return newMerchant(t, db, in, in), cluster.AdminURL()
}

// chargeUnconfirmed makes a payment that is visible here, and on no standby.
func (m *merchant) chargeUnconfirmed(t *testing.T, standby *pgtest.Standby) {
	t.Helper()
	m.charge("k", aliceToShop(1)).wantProblem("outcome_unknown")
	await.Until(t, patience, "the payment is visible, and on no standby", func() bool {
		standby.CancelWaits(t)
		return len(m.paymentsStored("idempotency_key = 'k'")) == 1
	})
}

// A COMMIT whose wait for the synchronous standby was cancelled is visible here, and a
// failover may lose it. A reader must not be told.
func TestEventLeavesOnlyWhenTheStandbyHasIt(t *testing.T) {
	t.Parallel()
	m, adminURL := onDurable(t, settings{requestTimeout: 2 * time.Second})
	known := m.awaitEvents(2)[0].ID
	_, end := m.follow("/events?limit=10", "")
	s := m.stream("/events", "")
	s.want(2)

	standby := pgtest.NewStandby(t, adminURL)
	comeBack := standby.Leave(t)
	m.chargeUnconfirmed(t, standby)
	streamed := make(chan block, 1)
	go func() {
		b, err := s.nextEvent()
		if err != nil {
			t.Errorf("the stream ends: %v", err)
		}
		streamed <- b
	}()
	if a := m.get("/events?cursor=" + end); a.status == 200 && len(readPage[event](a).Data) > 0 {
		a.fail("has the event")
	}
	// Events that were committed before are not known to be on a standby either.
	m.get("/events?begin=latest&limit=1").wantProblem("unavailable")
	m.get("/events/" + known).wantProblem("unavailable")
	// Nor does a cursor name such an event: after a failover it would be lost.
	m.get("/events?type=payment.canceled").wantProblem("unavailable")
	m.get("/events?type=payment.canceled&begin=latest").wantProblem("unavailable")
	if len(streamed) > 0 {
		t.Error("the stream has the event")
	}
	comeBack()
	event := <-streamed
	if more, _ := m.follow("/events?limit=10", end); len(more) != 1 || more[0].Raw != event.data {
		t.Errorf("with the standby, the list has %v and the stream %+v", more, event)
	}
	m.charge("k", aliceToShop(1)).want(201)
}

// Each reader of the feed would keep a connection until the standby comes back.
func TestReadersOfTheFeedLeaveConnectionsToOthers(t *testing.T) {
	t.Parallel()
	m, adminURL := onDurable(t, settings{})
	known := m.awaitEvents(2)[0].ID
	general := m.first.Pools.General.Stat
	comeBack := pgtest.NewStandby(t, adminURL).Leave(t)
	read := make(chan []*answer)
	go func() {
		read <- atOnce(3*int(general().MaxConns()), func(i int) *answer {
			return m.get([]string{"/events", "/events/" + known}[i%2])
		})
	}()
	await.Until(t, patience, "readers of the feed have all connections that they may have",
		func() bool { return general().AcquiredConns() >= eventReadsAtOnce })
	for range 100 {
		m.get("/payments").want(200)
		if n := general().AcquiredConns(); n > eventReadsAtOnce {
			t.Fatalf("readers of the feed have %d connections", n)
		}
	}
	comeBack()
	for _, a := range <-read {
		a.want(200)
	}
}
