package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// Reaping breaks no invariant: pgtest audits the database at the end of every test.

const retention = time.Hour

// The clock of an instance made the request's id. The age of an answer is measured by
// the clock of the database.
func TestOnlyAnswersThatAreOlderThanTheRetentionAreReaped(t *testing.T) {
	t.Parallel()
	db := newBooks(t)
	for _, key := range []struct {
		name               string
		database, instance time.Duration // the age by each clock
	}{
		{"fresh", 0, 0},
		{"59 minutes", 59 * time.Minute, 59 * time.Minute},
		{"behind", 30 * time.Minute, 10 * time.Hour},
		{"ahead", 30 * time.Minute, -10 * time.Hour},
		{"ahead and old", 2 * retention, 30 * time.Minute},
		{"61 minutes", 61 * time.Minute, 61 * time.Minute},
		{"behind and old", 2 * retention, 10 * time.Hour},
	} {
		db.charge(t, key.name)
		db.ageBy(t, key.name, key.database, key.instance)
	}
	db.reap(t, retention, 100, 2)
	want := []string{"59 minutes", "ahead", "ahead and old", "behind", "fresh"}
	if got := db.answered(t); !slices.Equal(got, want) {
		t.Errorf("answers are left for %q, want %q", got, want)
	}
	record, now, err := idempotency.Find(t.Context(), connect(t, db.URL), keyNamed("61 minutes"))
	if err != nil || record == nil {
		t.Fatalf("the key itself must stay: %v, %v", record, err)
	}
	if _, err := record.AnswerTo(record.Fingerprint, now, retention); !errors.Is(err,
		idempotency.ErrKeyExpired) {
		t.Errorf("a retry of a reaped answer gets %v, want %v", err, idempotency.ErrKeyExpired)
	}
	// A shorter retention reaps those, too.
	db.reap(t, retention/4, 100, 3)
}

func TestAnswersAreReapedInBatches(t *testing.T) {
	t.Parallel()
	db := newBooks(t)
	for i := range 7 {
		key := fmt.Sprint("key ", i)
		db.charge(t, key)
		db.age(t, key, 2*retention)
	}
	for _, want := range []int{3, 3, 1, 0} { // fewer than the limit means that none is left
		db.reap(t, retention, 3, want)
	}
}

// By the mark the audit tells a reaped answer from one that was never written.
func TestMarkFollowsTheDatabaseClockAndNeverGoesBack(t *testing.T) {
	t.Parallel()
	db := newBooks(t)
	const mark = `SELECT answers_before FROM idempotency_reaper`
	const clock = `SELECT clock_timestamp()`
	before := db.time(t, clock)
	db.reap(t, retention, 1, 0)
	first, after := db.time(t, mark), db.time(t, clock)
	if first.Before(before.Add(-retention)) || first.After(after.Add(-retention)) {
		t.Errorf("the mark is %v, want %v to %v", first, before.Add(-retention),
			after.Add(-retention))
	}
	db.reap(t, 2*retention, 1, 0)
	if got := db.time(t, mark); !got.Equal(first) {
		t.Errorf("a longer retention took the mark from %v to %v", first, got)
	}
	db.reap(t, retention/2, 1, 0)
	if got := db.time(t, mark); !got.After(first) {
		t.Errorf("a shorter retention left the mark at %v", got)
	}
}

func TestLongerRetentionKeepsOlderAnswers(t *testing.T) {
	t.Parallel()
	db := newBooks(t)
	db.reap(t, retention, 1, 0)
	db.charge(t, "two hours")
	db.age(t, "two hours", 2*time.Hour)
	db.reap(t, 24*time.Hour, 100, 0)
	db.reap(t, retention, 100, 1)
}

// During the deletion a retry gets the old answer, or learns that the key has expired.
func TestRetryRacingTheReaperChargesNothing(t *testing.T) {
	t.Parallel()
	db := newBooks(t)
	done := make(chan struct{})
	var callers, reaper sync.WaitGroup
	reaper.Go(func() {
		for {
			if _, err := idempotency.Reap(context.Background(), db.Pool, 0, 5); err != nil {
				t.Error(err)
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	const keys = 40
	expired := make(chan bool, 10*keys)
	for i := range keys {
		callers.Go(func() {
			for try := range 10 {
				_, err := db.try(fmt.Sprint("key ", i))
				refusal, refused := errors.AsType[*payments.Refusal](err)
				if err != nil && (!refused || refusal.Code != payments.CodeKeyExpired ||
					try == 0) {
					t.Errorf("try %d of key %d: %v", try, i, err)
				}
				expired <- refused
			}
		})
	}
	callers.Wait()
	close(done)
	reaper.Wait()
	close(expired)
	heard := 0
	for refused := range expired {
		if refused {
			heard++
		}
	}
	if heard == 0 {
		t.Error("no retry met the reaper")
	}
	account, err := ledger.NewAccounts(db.Pool).
		Get(t.Context(), ledger.Ref{MerchantID: 1, AccountID: "shop"})
	if err != nil || account.Posted != keys {
		t.Errorf("shop got %d, %v; want %d", account.Posted, err, keys)
	}
}

// The cost of a batch does not depend on the number of stored answers.
func TestABatchReadsLittleMoreThanItDeletes(t *testing.T) {
	t.Parallel()
	const many, limit, slack = 10_000, 100, 100
	db := pgtest.NewBroken(t) // answers without keys
	admin := connect(t, db.AdminURL)
	execute(t, admin, `INSERT INTO merchants (id, name) VALUES (1, 'one')`)
	storeAnswers(t, admin, many, 2*retention)
	storeAnswers(t, admin, many, retention/2)
	if read := readByReaping(t, admin, limit, limit); read > 2*limit+slack {
		t.Errorf("it read %d rows of %d to delete %d", read, 2*many, limit)
	}
	for deleted := 1; deleted > 0; {
		var err error
		if deleted, err = idempotency.Reap(t.Context(), admin, retention, many); err != nil {
			t.Fatal(err)
		}
	}
	execute(t, admin, `VACUUM ANALYZE idempotency_answers`)
	if read := readByReaping(t, admin, limit, 0); read > slack {
		t.Errorf("it read %d rows of %d to find that none is old enough", read, many)
	}
	// New rows take the space of deleted ones. So the rows do not lie in the order of
	// their time.
	storeAnswers(t, admin, many, retention/3)
	if read := readByReaping(t, admin, limit, 0); read > slack {
		t.Errorf("it read %d rows of %d, in reused space, to find that none is old enough",
			read, 2*many)
	}
}

// storeAnswers writes answers of that age. Their ids are in the order of their time.
func storeAnswers(t *testing.T, admin *pgx.Conn, n int, age time.Duration) {
	t.Helper()
	execute(t, admin, `
		INSERT INTO idempotency_answers
			(merchant_id, request_id, status, location, body, created_at)
		SELECT 1, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
				|| '70008' || lpad(to_hex(n), 15, '0'))::uuid,
			201, '', convert_to(repeat('x', 400), 'UTF8'), at
		FROM generate_series(1, $1) AS n
		CROSS JOIN LATERAL (
			SELECT clock_timestamp() - $2::interval + n * interval '1 ms') AS t (at)`, n, age)
	execute(t, admin, `VACUUM ANALYZE idempotency_answers`)
}

// readByReaping is how many answers a batch reads, by the server's own count. The batch
// is rolled back.
func readByReaping(t *testing.T, admin *pgx.Conn, limit int, want int) (rows int64) {
	t.Helper()
	tx, err := admin.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	before := rowsRead(t, tx)
	if deleted, err := idempotency.Reap(t.Context(), tx, retention, limit); err != nil ||
		deleted != want {
		t.Fatalf("deleted %d, %v; want %d", deleted, err, want)
	}
	return rowsRead(t, tx) - before
}

// rowsRead counts the rows that this connection has read since it last reported. Only
// the difference of two counts has a meaning.
func rowsRead(t *testing.T, tx pgx.Tx) (rows int64) {
	t.Helper()
	if err := tx.QueryRow(t.Context(), `
		SELECT seq_tup_read + idx_tup_fetch
		FROM pg_stat_xact_user_tables
		WHERE relname = 'idempotency_answers'`).Scan(&rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

// books are a merchant who charges a cent at a time, from world to shop.
type books struct {
	*pgtest.DB
	service *payments.Service
}

func newBooks(t *testing.T) *books {
	t.Helper()
	db := pgtest.New(t)
	execute(t, db.Pool, `INSERT INTO merchants (id, name) VALUES (1, 'one')`)
	execute(t, db.Pool, `
		INSERT INTO accounts (merchant_id, id, currency, overdraft_limit)
		VALUES (1, 'world', 'USD', NULL), (1, 'shop', 'USD', 0)`)
	pools, err := postgres.Open(context.Background(),
		postgres.Options{URL: db.URL, GeneralSize: 2, MoneySize: 2})
	if err != nil {
		t.Fatal(err)
	}
	service := payments.New(payments.Config{
		Pools: pools, Retention: 720 * time.Hour, Workers: 2, BatchSizeMax: 512,
		QueueSizeMax: 1000, Timeout: 10 * time.Second, Logger: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(func() {
		service.Close()
		pools.Close()
	})
	return &books{DB: db, service: service}
}

func keyNamed(name string) idempotency.Key {
	return idempotency.Key{MerchantID: 1, Scope: idempotency.ScopeClient, Value: name}
}

func (b *books) try(key string) (payments.Reply, error) {
	charge := payments.Charge{
		Amount:        ledger.Money{Minor: 1, Currency: "USD"},
		SourceAccount: "world", DestinationAccount: "shop",
	}
	return b.service.Charge(context.Background(),
		payments.Caller{Key: keyNamed(key), RequestID: uuid.Must(uuid.NewV7())}, charge)
}

func (b *books) charge(t *testing.T, key string) {
	t.Helper()
	if _, err := b.try(key); err != nil {
		t.Fatal(err)
	}
}

// age makes the key and its answer older, by the clocks of the database and the
// instance.
func (b *books) age(t *testing.T, key string, by time.Duration) {
	t.Helper()
	b.ageBy(t, key, by, by)
}

// ageBy is age with two clocks that differ. Only a superuser can change a key.
func (b *books) ageBy(t *testing.T, key string, database, instance time.Duration) {
	t.Helper()
	admin := connect(t, b.AdminURL)
	execute(t, admin, `SET session_replication_role = replica`)
	execute(t, admin, `
		CREATE FUNCTION pg_temp.older(id uuid, by interval) RETURNS uuid LANGUAGE sql AS $$
			SELECT (lpad(to_hex(milliseconds - (extract(epoch FROM by) * 1000)::bigint), 12, '0')
				|| substr(digits, 13))::uuid
			FROM replace(id::text, '-', '') AS digits
			CROSS JOIN LATERAL (
				SELECT ('x' || left(digits, 12))::bit(48)::bigint) AS t (milliseconds)
		$$`)
	execute(t, admin, `
		UPDATE idempotency_answers a
		SET created_at = a.created_at - $2::interval,
			request_id = pg_temp.older(a.request_id, $3::interval)
		FROM idempotency_keys k
		WHERE k.merchant_id = a.merchant_id AND k.request_id = a.request_id AND k.key = $1`,
		key, database, instance)
	execute(t, admin, `
		UPDATE idempotency_keys
		SET created_at = created_at - $2::interval,
			request_id = pg_temp.older(request_id, $3::interval)
		WHERE key = $1`, key, database, instance)
}

func (b *books) reap(t *testing.T, retention time.Duration, limit int, want int) {
	t.Helper()
	if deleted, err := idempotency.Reap(t.Context(), b.Pool, retention, limit); err != nil ||
		deleted != want {
		t.Errorf("reaped %d, %v; want %d", deleted, err, want)
	}
}

// answered are the keys whose answers are kept.
func (b *books) answered(t *testing.T) []string {
	t.Helper()
	rows, err := b.Pool.Query(t.Context(), `
		SELECT k.key
		FROM idempotency_keys k
		JOIN idempotency_answers a
			ON a.merchant_id = k.merchant_id AND a.request_id = k.request_id
		ORDER BY k.key`)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func (b *books) time(t *testing.T, sql string) (at time.Time) {
	t.Helper()
	if err := b.Pool.QueryRow(t.Context(), sql).Scan(&at); err != nil {
		t.Fatal(err)
	}
	return at
}

func execute(t *testing.T, db postgres.Querier, sql string, args ...any) {
	t.Helper()
	if _, err := db.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}
