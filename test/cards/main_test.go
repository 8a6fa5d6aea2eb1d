// Package cards charges cards through real paymentsvc processes, at a card processor that
// is a process too, and breaks their exchanges at chosen moments.
//
// A proxy stands between each instance and the processor (proxy_test.go). It sees each
// call, so a test can kill or stop an instance before, during and after one.
//
//	kill_test.go      instances and the processor are killed under load
//	stall_test.go     an instance stands still while another takes its attempt over
//	shutdown_test.go  an instance is told to end while calls are out
//	hang_test.go      hundreds of calls hang
//	window_test.go    keys are forgotten, and answers make no sense
//	events_test.go    events come often, and an instance dies within one
//	start_test.go     the configuration is wrong
//	books_test.go     the processor's books against ours
package cards

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/service"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	// patience is for anything that a working system does soon.
	patience = 20 * time.Second
	// callTimeout is the shortest that the service takes.
	callTimeout = time.Second
	// leaseTime is how long an attempt of a dead instance is left alone: the time of a call,
	// and a margin of the service.
	leaseTime = callTimeout + 4*time.Second
	// settledTime is the promise for the time after the processor is back.
	settledTime = 30 * time.Second
)

// long tells whether this is `make test-long`.
func long() bool { return os.Getenv("LONG_TESTS") != "" }

// bench is a processor, and instances on one database that charge cards at it.
type bench struct {
	*testing.T
	db        *pgtest.DB
	processor *simulator.Process
	proxy     *proxy
	settings  []string
	merchant  *journal.Merchant
	events    string // the address of passEvents

	mu      sync.Mutex
	members []*member // guarded by mu; replaced by restart
}

// member is an instance with its own way to the processor.
type member struct {
	*service.Instance
	started chan struct{} // closed when Instance is set
}

// newBench starts the processor with these arguments, and n instances.
func newBench(t *testing.T, n int, arguments []string, settings ...string) *bench {
	t.Helper()
	b := &bench{T: t, db: pgtest.New(t)}
	var err error
	b.processor, err = simulator.Launch(t.Context(), simulator.LaunchOptions{
		Program: service.Binary(t), Dir: t.TempDir(), Arguments: arguments,
		Logger: slog.New(slog.DiscardHandler),
	})
	b.must(err)
	t.Cleanup(func() { _ = b.processor.Kill(context.Background()) })
	b.proxy = newProxy(t, b.processor.URL())
	b.settings = append([]string{
		service.AllowDataLoss, "STRIPE_SECRET_KEY=" + simulator.DefaultSecret,
		"STRIPE_WEBHOOK_SECRETS=" + simulator.DefaultWebhookSecret,
		"PROCESSOR_TIMEOUT=" + callTimeout.String(), "SHUTDOWN_DELAY=10ms",
	}, settings...)
	for range n {
		b.members = append(b.members, b.start())
	}
	for _, m := range b.members {
		m.AwaitReady(patience)
	}
	b.merchant = journal.NewMerchant(t, b.members[0], b.db.URL)
	return b
}

// start starts an instance and does not wait for it.
func (b *bench) start() *member {
	b.Helper()
	m := &member{started: make(chan struct{})}
	m.Instance = service.Serve(b, b.db.URL, append([]string{
		"STRIPE_URL=" + b.proxy.listen(m),
	}, b.settings...)...)
	close(m.started)
	return m
}

// restart puts a new process in the place of one that has ended, and waits until it
// serves.
func (b *bench) restart(ended *member) {
	b.Helper()
	m := b.start()
	m.URL()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.members[slices.Index(b.members, ended)] = m
}

// instance is number i as it is now.
func (b *bench) instance(i int) *member {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.members[i]
}

// pick is the address of any instance, dead or alive.
func (b *bench) pick() string {
	b.mu.Lock()
	m := b.members[rand.IntN(len(b.members))]
	b.mu.Unlock()
	return m.URL()
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// number asks the database for one number.
func (b *bench) number(sql string, args ...any) (n int) {
	b.Helper()
	if err := b.db.Pool.QueryRow(b.Context(), sql, args...).Scan(&n); err != nil {
		b.Fatalf("%s: %v", sql, err)
	}
	return n
}

// charge sends a charge by card once, to instance i.
func (b *bench) charge(i int, key, method string) journal.Answer {
	b.Helper()
	return b.merchant.Charge(b.Context(), b.instance(i).URL(), key,
		journal.NewCardCharge(100, method))
}

// started is a request that runs beside the test.
func started(send func() journal.Answer) <-chan journal.Answer {
	answer := make(chan journal.Answer, 1)
	go func() { answer <- send() }()
	return answer
}

// awaitSettled waits until no attempt is open, within the limit.
func (b *bench) awaitSettled(limit time.Duration) {
	b.Helper()
	began := time.Now()
	await.Until(b, limit, "every attempt is settled", func() bool {
		return b.number(`SELECT count(*) FROM processor_attempts WHERE state = 'open'`) == 0
	})
	b.Logf("every attempt was settled after %v", time.Since(began).Round(time.Millisecond))
	rows, err := b.db.Pool.Query(b.Context(),
		`SELECT operation || ': ' || problem FROM processor_attempts WHERE state = 'review'`)
	b.must(err)
	problems, err := pgx.CollectRows(rows, pgx.RowTo[string])
	b.must(err)
	for _, problem := range problems {
		b.Errorf("an attempt waits for a person: %s", problem)
	}
}

// healthy fails the test unless the instance is ready.
func (b *bench) healthy(m *member) {
	b.Helper()
	if ready := m.Readiness(); ready != http.StatusOK {
		b.Errorf("/readyz answers %d (0: nobody within a second)", ready)
	}
}
