package webhooks_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/internal/webhooks"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/service"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// patience is for what takes milliseconds on an idle machine.
const patience = 30 * time.Second

// merchantID is the merchant of these tests.
const merchantID = 1

// quick is a schedule that tests can wait for.
var quick = webhooks.Schedule{
	First: 20 * time.Millisecond, Longest: 100 * time.Millisecond, GiveUp: time.Hour,
	Timeout: 2 * time.Second, Lease: 4 * time.Second, Poll: 20 * time.Millisecond,
}

// bench is a database with one merchant. Its events belong to no payment, so the
// database is a broken one; the audit of deliveries is read by wantNoneLost.
type bench struct {
	t         *testing.T
	db        *pgtest.DB
	pools     *postgres.Pools
	committed outbox.Signal
	log       service.Output
}

func newBench(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	b := &bench{t: t, db: pgtest.NewBroken(t)}
	var err error
	if b.pools, err = postgres.Open(t.Context(), postgres.Options{
		URL: b.db.URL, GeneralSize: 6, MoneySize: 1,
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.pools.Close)
	b.execute(`INSERT INTO merchants (id, name) VALUES (1, 'one'), (2, 'two')`)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(b.log.String())
		}
	})
	return b
}

func (b *bench) execute(sql string, args ...any) {
	b.t.Helper()
	if _, err := b.db.Pool.Exec(b.t.Context(), sql, args...); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
}

func (b *bench) count(sql string, args ...any) (n int) {
	b.t.Helper()
	if err := b.db.Pool.QueryRow(b.t.Context(), sql, args...).Scan(&n); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// service is one that may call receivers on this machine.
func (b *bench) service(changes ...func(*webhooks.Config)) *webhooks.Service {
	b.t.Helper()
	config := webhooks.Config{
		Busy: func() bool { return false },
		Pool: b.pools.General, Feed: outbox.NewFeed(b.pools.General, pgtest.Sharded()),
		Sharded: pgtest.Sharded(), Committed: &b.committed,
		Schedule: quick, AllowPrivateAddresses: true,
		Logger: slog.New(slog.NewTextHandler(&b.log, &slog.HandlerOptions{
			Level: slog.LevelDebug,
		})),
	}
	for _, change := range changes {
		change(&config)
	}
	s := webhooks.New(config)
	b.t.Cleanup(s.Close)
	return s
}

// run does the service's work until the test is over or stop is called.
func (b *bench) run(s *webhooks.Service) (stop func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.FanOut(ctx) })
	running.Go(func() { s.Deliver(ctx) })
	stop = func() {
		cancel()
		running.Wait()
	}
	b.t.Cleanup(stop)
	return stop
}

// put makes an endpoint of merchant 1.
func (b *bench) put(s *webhooks.Service, id string, terms webhooks.Terms) (secret string) {
	b.t.Helper()
	_, _, secret, err := s.Put(b.t.Context(), webhooks.Ref{MerchantID: merchantID, ID: id}, terms,
		0)
	if err != nil {
		b.t.Fatal(err)
	}
	return secret
}

func (b *bench) get(s *webhooks.Service, id string) webhooks.Endpoint {
	b.t.Helper()
	endpoint, err := s.Get(b.t.Context(), webhooks.Ref{MerchantID: merchantID, ID: id})
	if err != nil {
		b.t.Fatal(err)
	}
	return endpoint
}

func (b *bench) attempts(s *webhooks.Service, id string) []webhooks.Attempt {
	b.t.Helper()
	attempts, err := s.Attempts(b.t.Context(), webhooks.Ref{MerchantID: merchantID, ID: id},
		uuid.Max, 1000)
	if err != nil {
		b.t.Fatal(err)
	}
	return attempts
}

// data is JSON that no encoder would write like this.
const data = `{ "b": 1.0,  "a":"\u00e4", "a": 2 }`

// insert writes events as the service does, and returns their ids.
func (b *bench) insert(n int, kind string) []string {
	b.t.Helper()
	var ids []string
	if err := pgx.BeginFunc(b.t.Context(), b.pools.General, func(tx pgx.Tx) error {
		ids = b.insertIn(tx, n, kind)
		return nil
	}); err != nil {
		b.t.Fatal(err)
	}
	b.committed.Notify()
	return ids
}

// insertIn is insert in a transaction of the test.
func (b *bench) insertIn(tx pgx.Tx, n int, kind string) []string {
	b.t.Helper()
	events := make([]outbox.Event, n)
	for i := range events {
		events[i] = outbox.Event{
			MerchantID: merchantID, ID: uuid.Must(uuid.NewV7()), Type: kind,
			PaymentID: uuid.Must(uuid.NewV7()), PaymentVersion: 1, Data: []byte(data),
		}
	}
	var transaction uint64
	q := &pgx.Batch{}
	outbox.QueueInsert(q, events, time.Date(2026, 11, 1, 10, 0, 0, 123456000, time.UTC))
	q.Queue(`SELECT pg_current_xact_id()`).QueryRow(func(row pgx.Row) error {
		return row.Scan(&transaction)
	})
	if err := tx.SendBatch(b.t.Context(), q).Close(); err != nil {
		b.t.Fatal(err)
	}
	ids := make([]string, n)
	for i, event := range events {
		ids[i] = outbox.Position{TransactionID: transaction, ID: event.ID}.EventID()
	}
	return ids
}

// awaitSettled waits until the feed shows all events. Transactions of other tests on
// the server hold it back.
func (b *bench) awaitSettled() {
	b.t.Helper()
	await.Until(b.t, patience, "the feed shows all events", func() bool {
		return b.count(`SELECT count(*) FROM events
			WHERE transaction_id >= pg_snapshot_xmin(pg_current_snapshot())`) == 0
	})
}

// wantNoneLost compares the deliveries with the events.
func (b *bench) wantNoneLost() {
	b.t.Helper()
	if n := b.count(`SELECT count(*) FROM audit.i8_every_event_is_delivered`); n != 0 {
		b.t.Errorf("%d events were lost", n)
	}
}

// call is a request that a receiver got.
type call struct {
	id     string
	header http.Header
	body   []byte
}

func (c *call) verify(t *testing.T, secret string) error {
	t.Helper()
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	return verifier.Verify(c.body, c.header)
}

// receiver is an HTTP server that writes down what it gets.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	calls  []call
	answer http.HandlerFunc // nil: 204
}

func newReceiver(t *testing.T, answer http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, _ := io.ReadAll(request.Body)
	r.mu.Lock()
	r.calls = append(r.calls, call{request.Header.Get("webhook-id"), request.Header, body})
	answer := r.answer
	r.mu.Unlock()
	if answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	answer(w, request)
}

// turn changes how it answers.
func (r *receiver) turn(answer http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func (r *receiver) got() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// has tells whether it got each of the events.
func (r *receiver) has(ids []string) bool {
	seen := map[string]bool{}
	for _, c := range r.got() {
		seen[c.id] = true
	}
	return !slices.ContainsFunc(ids, func(id string) bool { return !seen[id] })
}

func (r *receiver) await(t *testing.T, ids []string) {
	t.Helper()
	await.Until(t, patience, fmt.Sprintf("a receiver gets %d events", len(ids)),
		func() bool { return r.has(ids) })
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}
