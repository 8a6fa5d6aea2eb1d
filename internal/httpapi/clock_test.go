package httpapi_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// clock sets a database's clock back from this machine's, by which a service that asked its own clock would be caught.
type clock struct {
	t  *testing.T
	db *pgtest.DB
}

// newClock puts a function of the test's own in the place of Postgres's clock_timestamp(), for all connections from now on.
// Defaults of columns are bound to Postgres's own function since the tables were made, and keep to it.
func newClock(t *testing.T, db *pgtest.DB, behind time.Duration) *clock {
	t.Helper()
	c := &clock{t, db}
	c.exec(`CREATE SCHEMA clock`)
	c.exec(`CREATE TABLE clock.hands (behind interval NOT NULL)`)
	c.exec(`INSERT INTO clock.hands (behind) VALUES ($1)`, behind)
	c.exec(`CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
		'SELECT pg_catalog.clock_timestamp() - behind FROM clock.hands'`)
	c.exec(`GRANT USAGE ON SCHEMA clock TO PUBLIC`)
	c.exec(`GRANT SELECT ON clock.hands TO PUBLIC`)
	database := pgx.Identifier{db.Pool.Config().ConnConfig.Database}.Sanitize()
	c.exec(`ALTER DATABASE ` + database + ` SET search_path = public, clock, pg_catalog`)
	db.Pool.Reset()
	return c
}

// forward lets time pass.
func (c *clock) forward(by time.Duration) {
	c.t.Helper()
	c.exec(`UPDATE clock.hands SET behind = behind - $1::interval`, by)
}

func (c *clock) exec(sql string, args ...any) {
	c.t.Helper()
	if _, err := c.db.Pool.Exec(context.Background(), sql, args...); err != nil {
		c.t.Fatalf("%s: %v", sql, err)
	}
}

// The service's clock is six weeks ahead of the database's, and it does not show: what is new, over
// or expired is so by the database's clock.
func TestOnlyTheDatabasesClockCounts(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	const lifetime, keptFor, behind, moment = 7 * day, 30 * day, 42 * day, time.Minute
	db := pgtest.New(t)
	databaseClock := newClock(t, db, behind)
	in := newInstanceWith(t, db.URL, settings{lifetime: lifetime, retention: keptFor})
	m := newMerchant(t, db, in, in)

	began := m.databaseTime()
	paid := m.charge("paid", aliceToShop(100)).want(http.StatusCreated)
	refunded := m.post("refund", paid.header.Get("Location")+"/refunds", `{"amount":1}`).want(http.StatusCreated)
	for _, a := range []*answer{paid, refunded} {
		var made struct {
			CreatedAt time.Time `json:"created_at"`
		}
		if a.decode(&made); made.CreatedAt.Before(began.Truncate(time.Microsecond)) || made.CreatedAt.After(m.databaseTime()) {
			a.fail("was not made at %s", began)
		}
	}
	m.get("/accounts/shop?at=" + began.UTC().Format(time.RFC3339Nano)).want(http.StatusOK)
	m.get("/accounts/shop?at="+began.Add(moment).UTC().Format(time.RFC3339Nano)).wantProblem(http.StatusUnprocessableEntity, refused)

	lasts, over := m.authorize("lasts", 10), m.authorize("over", 10)
	databaseClock.forward(lifetime - moment)
	m.wantExpiredAuthorizations(in, 0)
	m.post("capture", lasts+"/capture", "").want(http.StatusOK)
	databaseClock.forward(moment)
	m.post("late", over+"/capture", "").wantProblem(http.StatusConflict, "invalid_state")
	m.wantExpiredAuthorizations(in, 1)
	if p := m.get(over).payment(); p.Status != "canceled" {
		t.Errorf("what is over is %+v", p)
	}

	databaseClock.forward(keptFor - lifetime - moment)
	m.retry("paid", aliceToShop(100)).wantReplayOf(paid)
	if n := m.reap(keptFor); n != 0 {
		t.Errorf("%d answers are gone before their time", n)
	}
	databaseClock.forward(moment)
	m.wantExpired("paid", aliceToShop(100), paid)
	// The reaper finds answers by ids from the service's clock, which is ahead: it may come late, never early.
	databaseClock.forward(behind)
	if n := m.reap(keptFor); n == 0 {
		t.Error("no answer is gone after its time")
	}
	m.wantExpired("paid", aliceToShop(100), paid)
}

// wantExpiredAuthorizations does what an instance's background worker would do now.
func (m *merchant) wantExpiredAuthorizations(in *instance, want int) {
	m.t.Helper()
	if n, err := in.Payments.ExpireAuthorizations(context.Background(), 100); n != want || err != nil {
		m.t.Errorf("%d authorizations have expired (%v), want %d", n, err, want)
	}
}

// A charge that waits for its locks is dated after the wait, so times never run backwards within an account.
func TestAPaymentIsAsOldAsItsLocks(t *testing.T) {
	acrossTwoInstances(t, func(t *testing.T, m *merchant) {
		release := m.hold("alice")
		answers := make(chan *answer, 1)
		go func() { answers <- m.charge("k", aliceToShop(100)) }()
		m.awaitInFlight(1)
		waited := m.databaseTime()
		release()
		var payment struct {
			CreatedAt time.Time `json:"created_at"`
		}
		(<-answers).want(http.StatusCreated).decode(&payment)
		if payment.CreatedAt.Before(waited.Truncate(time.Microsecond)) || payment.CreatedAt.After(m.databaseTime()) {
			t.Errorf("made at %s, although it got its locks after %s", payment.CreatedAt, waited)
		}
	})
}

func (m *merchant) databaseTime() (now time.Time) {
	m.t.Helper()
	if err := m.db.Pool.QueryRow(context.Background(), `SELECT clock_timestamp()`).Scan(&now); err != nil {
		m.t.Fatal(err)
	}
	return now
}
