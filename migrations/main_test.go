package migrations_test

import (
	"context"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/migrations"
)

var update = flag.Bool("update", false, "write the generated files anew instead of comparing them")

// These tests are about the schema on one Postgres. Those of sharded mode switch it on.
//
// golang-migrate reads ahead. Its readers stay when a migration fails.
func TestMain(m *testing.M) {
	pgtest.OnOnePostgres()
	const reader = "github.com/golang-migrate/migrate/v4.(*Migration).Buffer"
	pgtest.Main(m, goleak.IgnoreAnyFunction(reader))
}

// querier is a pool, a connection or a transaction.
type querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// execute runs a statement that the test needs.
func execute(t *testing.T, db querier, sql string, args ...any) {
	t.Helper()
	if _, err := db.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// column is the result of a query of one column.
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

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// rolledBack runs a part of a test in a transaction, and rolls it back.
func rolledBack(t *testing.T, db interface {
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

// up, down and empty move a database, and must succeed.
func up(t *testing.T, db *pgtest.DB) {
	t.Helper()
	if err := migrations.Up(t.Context(), db.URL); err != nil {
		t.Fatal(err)
	}
}

func down(t *testing.T, db *pgtest.DB, steps int) {
	t.Helper()
	if err := migrations.Down(t.Context(), db.URL, steps); err != nil {
		t.Fatal(err)
	}
}

func empty(t *testing.T, db *pgtest.DB) {
	t.Helper()
	down(t, db, int(migrations.Latest))
}

func wantVersion(t *testing.T, db *pgtest.DB, want uint) {
	t.Helper()
	if version, err := migrations.Version(t.Context(), db.URL); err != nil || version != want {
		t.Errorf("version %d (%v), want %d", version, err, want)
	}
}

// awaitBlocked waits until n connections to the database have waited for a lock for
// that long.
func awaitBlocked(t *testing.T, db *pgtest.DB, n int64, waited time.Duration) {
	t.Helper()
	await.Until(t, 10*time.Second, "connections wait for a lock", func() bool {
		return column[int64](t, db.Pool, `
			SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'
				AND query_start <= clock_timestamp() - $1::interval`, waited)[0] == n
	})
}

// wantFile compares a generated file with the one in the repository, or writes it.
func wantFile(t *testing.T, path, content, command string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := os.ReadFile(path); err != nil || string(found) != content {
		t.Errorf("%s differs from a migrated database (%v); make it anew: %s", path, err, command)
	}
}
