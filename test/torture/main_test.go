// Package torture breaks the world around real paymentsvc processes, and looks at what
// callers were told.
//
// Each test starts instances of the program, on a database that it may kill, injects
// the fault for real, and judges: by the callers' journal where there is load (see
// package service), by the answers to single requests where the moment matters, and in
// every case by the audit of the database after the test (see package pgtest).
//
//	kill_test.go         the service, Postgres, and both are killed under load
//	connections_test.go  connections are terminated, refused, read-only or used up
//	failover_test.go     a standby takes over
//	feed_test.go         the feed of events is restored, expires or ends
//	overload_test.go     more comes than there is room for
//	stall_test.go        a process or a table stands still
//	shutdown_test.go     an instance is told to end
//	durability_test.go   Postgres may lose what it has committed
//	schema_test.go       the schema is missing, incomplete or foreign
//	start_test.go        the configuration is wrong
//	dev_test.go          paymentsvc dev
package torture

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/service"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// Promises about time.
const (
	readyAgainTime = 5 * time.Second // after Postgres is back
	notReadyTime   = 3 * time.Second // after Postgres has gone silent
	// for /livez and /readyz, whatever happens: they ask nobody
	healthTime = time.Second
	budget     = 2 * time.Second     // for a request, where a test sets it
	margin     = 3 * time.Second / 2 // for a busy machine
)

// setBudget makes requests give up sooner than an operator would have them, so that a
// test can wait for it.
var setBudget = "REQUEST_TIMEOUT=" + budget.String()

// bench is a fleet on a database, with a merchant whom it serves.
type bench struct {
	*testing.T
	url      string // of the database, as its owner
	adminURL string
	fleet    *service.Fleet
	merchant *journal.Merchant
	admin    *pgx.Conn // kept by asAdmin
}

// newBench is a fleet of n on a database of the shared server, which is quick and
// forgets: for faults that a server survives.
func newBench(t *testing.T, n int, settings ...string) *bench {
	t.Helper()
	db := pgtest.New(t)
	return benchAt(t, n, db.URL, db.AdminURL, append(settings, service.AllowDataLoss)...)
}

// newDurableBench is a fleet on a server of its own, which keeps what it commits: for
// faults that a server does not survive, and for settings that concern all of it.
func newDurableBench(
	t *testing.T, n int, parameters map[string]string, settings ...string,
) (*bench, *pgtest.Cluster) {
	t.Helper()
	cluster := pgtest.Durable(t, parameters)
	return benchAt(t, n, cluster.URL(), cluster.AdminURL(), settings...), cluster
}

func benchAt(t *testing.T, n int, url, adminURL string, settings ...string) *bench {
	t.Helper()
	b := &bench{
		T: t, url: url, adminURL: adminURL,
		fleet: service.StartFleet(t, n, url, settings...),
	}
	b.merchant = journal.NewMerchant(t, b.instance(0), url)
	return b
}

// instance is number i of the fleet as it is now.
func (b *bench) instance(i int) *service.Instance { return b.fleet.Instances()[i] }

// connect is a connection as a superuser, for what an operator or another program does.
// It may write even when the database is read-only by default.
func (b *bench) connect() *pgx.Conn {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), b.adminURL)
	b.must(err)
	b.Cleanup(func() { _ = conn.Close(context.Background()) })
	_, err = conn.Exec(b.Context(), `SET default_transaction_read_only = off`)
	b.must(err)
	return conn
}

// asAdmin is a connection that is kept for the test's own questions, and replaced when
// its server has been killed.
func (b *bench) asAdmin() *pgx.Conn {
	b.Helper()
	if b.admin == nil || b.admin.Ping(b.Context()) != nil {
		b.admin = b.connect()
	}
	return b.admin
}

func (b *bench) exec(sql string, args ...any) {
	b.Helper()
	if _, err := b.asAdmin().Exec(b.Context(), sql, args...); err != nil {
		b.Fatalf("%s: %v", sql, err)
	}
}

// number asks for one number.
func (b *bench) number(sql string, args ...any) (n int) {
	b.Helper()
	if err := b.asAdmin().QueryRow(b.Context(), sql, args...).Scan(&n); err != nil {
		b.Fatalf("%s: %v", sql, err)
	}
	return n
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// hold takes locks in a transaction of its own and keeps them until release, or the end
// of the test.
func (b *bench) hold(sql string, args ...any) (release func()) {
	b.Helper()
	conn := b.connect()
	_, err := conn.Exec(b.Context(), "BEGIN")
	b.must(err)
	if _, err := conn.Exec(b.Context(), sql, args...); err != nil {
		b.Fatalf("%s: %v", sql, err)
	}
	return func() { _ = conn.Close(context.Background()) }
}

// holdCharges keeps transactions that charge an account in flight until release, or the
// end of the test: it has the number of the account's next entry.
func (b *bench) holdCharges(account string) (release func()) {
	b.Helper()
	return b.hold(pgtest.TakeNextEntries+` AND a.merchant_id = $2`, account, b.merchant.ID)
}

// charge sends a charge once, to instance i.
func (b *bench) charge(i int, key string) journal.Answer {
	b.Helper()
	return b.merchant.Charge(b.Context(), b.instance(i).URL(), key, journal.NewCharge(100))
}

// started is a request that runs beside the test.
func started(send func() journal.Answer) <-chan journal.Answer {
	answer := make(chan journal.Answer, 1)
	go func() { answer <- send() }()
	return answer
}

// chargedOnce fails the test unless the key has exactly one payment, and these answers
// are about it and have the same bytes.
func (b *bench) chargedOnce(key string, answers ...journal.Answer) {
	b.Helper()
	for _, answer := range answers {
		if answer.Class() != journal.Ack || string(answer.Body) != string(answers[0].Body) {
			b.Errorf("key %s was answered %v, want the ack that all others got: %v", key, answer,
				answers[0])
		}
	}
	if n := b.payments(key); n != 1 {
		b.Errorf("key %s has %d payments", key, n)
	}
}

// payments counts those of a key.
func (b *bench) payments(key string) int {
	b.Helper()
	return b.number(
		`SELECT count(*) FROM payments WHERE merchant_id = $1 AND idempotency_key = $2`,
		b.merchant.ID, key,
	)
}

// nothingStored fails the test if the key stands for anything.
func (b *bench) nothingStored(key string) {
	b.Helper()
	if n := b.number(`SELECT count(*) FROM idempotency_keys WHERE merchant_id = $1 AND key = $2`,
		b.merchant.ID, key); n != 0 {
		b.Errorf("key %s is taken", key)
	}
}

// putOff fails the test unless the answer is a 503 that says when to come back, and
// came within the time.
func (b *bench) putOff(answer journal.Answer, within time.Duration) {
	b.Helper()
	if answer.Status != 503 || answer.Header.Get("Retry-After") == "" {
		b.Errorf("want a 503 with Retry-After: %v", answer)
	}
	if answer.Took() > within {
		b.Errorf("want an answer within %v: %v", within, answer)
	}
}

// healthAnswers fails the test unless instance i says at once that it lives, and
// whether it is ready.
func (b *bench) healthAnswers(i int, readiness int) {
	b.Helper()
	began := time.Now()
	live, ready := b.instance(i).Liveness(), b.instance(i).Readiness()
	if live != 200 || ready != readiness || time.Since(began) > healthTime {
		b.Errorf("/livez answers %d and /readyz %d after %v, want 200 and %d", live, ready,
			time.Since(began), readiness)
	}
}

// backends counts the service's connections for which a condition on pg_stat_activity
// holds.
func (b *bench) backends(condition string) int {
	b.Helper()
	return b.number(`SELECT count(*) FROM pg_stat_activity
		WHERE application_name LIKE 'paymentsvc%' AND datname = current_database()
			AND ` + condition)
}

// awaitBackend waits for a connection of the service for which the condition holds.
func (b *bench) awaitBackend(what, condition string) {
	b.Helper()
	await.Until(b, 10*time.Second, what, func() bool { return b.backends(condition) > 0 })
}

// Conditions on pg_stat_activity.
const (
	// and not a look for expired authorizations, which comes every second
	isMoney           = `application_name = 'paymentsvc-money'`
	waitsForLock      = `wait_event_type = 'Lock'`
	idleInTransaction = `state = 'idle in transaction'`
)

// no5xxStored fails the test if the database holds an answer that a retry must be able
// to outlive.
func (b *bench) no5xxStored() {
	b.Helper()
	if n := b.number(
		`SELECT count(*) FROM idempotency_answers WHERE status >= 300 AND status <> 402`,
	); n != 0 {
		b.Errorf("%d answers are stored that are not final", n)
	}
}

// key names the keys of one test.
func key(i int) string { return fmt.Sprintf("key-%d", i) }
