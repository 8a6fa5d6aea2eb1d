package migrations_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// golang-migrate reads ahead, and leaves its readers behind when a migration fails.
func TestMain(m *testing.M) {
	pgtest.Main(m, goleak.IgnoreAnyFunction("github.com/golang-migrate/migrate/v4.(*Migration).Buffer"))
}

// querier is a pool, a connection or a transaction.
type querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// execute runs what must succeed for the test to make sense.
func execute(t *testing.T, db querier, sql string, args ...any) {
	t.Helper()
	if _, err := db.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// column is what a query of one column returns.
func column[T any](t *testing.T, db querier, sql string, args ...any) []T {
	t.Helper()
	rows, err := db.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return values
}

// connect opens a connection of the test's own.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// inVain runs what the test does in a transaction that never takes effect.
func inVain(t *testing.T, db interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}, do func(pgx.Tx),
) {
	t.Helper()
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	do(tx)
}

// Why the database refuses something, as the PostgreSQL manual, appendix A, calls it.
const (
	notAllowed         = "42501" // insufficient_privilege
	integrityViolation = "23000" // integrity_constraint_violation: what our triggers raise
	foreignKeyMissing  = "23503" // foreign_key_violation
	notUnique          = "23505" // unique_violation
	checkFailed        = "23514" // check_violation
)

// wantRefused expects the database's refusal for that reason, in the name of that constraint ("": it has none).
func wantRefused(t *testing.T, err error, code, constraint string) {
	t.Helper()
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		t.Errorf("got %v, want a refusal by %s (%s)", err, constraint, code)
		return
	}
	if refused.Code != code || refused.ConstraintName != constraint {
		t.Errorf("refused by %q (%s: %s), want %q (%s)", refused.ConstraintName, refused.Code, refused.Message, constraint, code)
	}
}

// await waits until the condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// awaitBlocked waits until n connections to the database wait for a lock.
func awaitBlocked(t *testing.T, db *pgtest.DB, n int64) {
	t.Helper()
	await(t, "a connection waits for a lock", func() bool {
		return column[int64](t, db.Pool, `
			SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`)[0] == n
	})
}
