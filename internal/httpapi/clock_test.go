package httpapi_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// clock sets a database's clock back from this machine's, by which a service that asked
// its own clock would be caught.
type clock struct {
	t  *testing.T
	db *pgtest.DB
}

// newClock puts a function of the test's own in the place of Postgres's
// clock_timestamp(), for all connections from now on. Defaults of columns are bound to
// Postgres's own function since the tables were made, and keep to it.
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

// wantExpiredAuthorizations does what an instance's background worker would do now.
func (m *merchant) wantExpiredAuthorizations(in *instance, want int) {
	m.t.Helper()
	if n, err := in.Payments.ExpireAuthorizations(context.Background(), 100); n != want ||
		err != nil {
		m.t.Errorf("%d authorizations have expired (%v), want %d", n, err, want)
	}
}

// A charge that waits for its locks gets its time after the wait: an account's times
// never go back.
func TestPaymentTimeFollowsItsLocks(t *testing.T) {
	m := onTwoInstances(t)
	release := m.lock("alice")
	answers := make(chan *answer, 1)
	go func() { answers <- m.charge("k", aliceToShop(100)) }()
	m.awaitInFlight(1)
	waited := m.databaseTime()
	release()
	at := m.createdAt((<-answers).want(201))
	if at.Before(waited.Truncate(time.Microsecond)) || at.After(m.databaseTime()) {
		t.Errorf("made at %s, although it got its locks after %s", at, waited)
	}
}

func (m *merchant) databaseTime() (now time.Time) {
	m.t.Helper()
	if err := m.db.Pool.QueryRow(context.Background(), `SELECT clock_timestamp()`).
		Scan(&now); err != nil {
		m.t.Fatal(err)
	}
	return now
}
