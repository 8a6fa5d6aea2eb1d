package postgres_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// open prepares the pools of an instance, with one connection of each kind.
func open(t *testing.T, url string) *postgres.Pools {
	t.Helper()
	pools, err := postgres.Open(context.Background(),
		postgres.Options{URL: url, GeneralSize: 1, MoneySize: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pools.Close)
	return pools
}

func newCommitter(pools *postgres.Pools) *postgres.Committer {
	return postgres.NewCommitter(pools.Money, slog.New(slog.DiscardHandler))
}

// querier is a pool, a connection or a transaction.
type querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// execute runs a statement that the test needs.
func execute(t *testing.T, db querier, sql string, args ...any) {
	t.Helper()
	if _, err := db.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// read is one value.
func read[T any](t *testing.T, db querier, sql string, args ...any) (value T) {
	t.Helper()
	if err := db.QueryRow(t.Context(), sql, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// superuser has rights that the owner of the database lacks.
func superuser(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// configure changes a setting for every later connection to the test's database.
func configure(t *testing.T, db querier, setting, value string) {
	t.Helper()
	name := pgx.Identifier{read[string](t, db, `SELECT current_database()::text`)}.Sanitize()
	execute(t, db, `ALTER DATABASE `+name+` SET `+setting+` = '`+value+`'`)
}

// refusal is the code and the constraint of an error of the server.
func refusal(err error) (code, constraint string) {
	if reported, ok := errors.AsType[*pgconn.PgError](err); ok {
		return reported.Code, reported.ConstraintName
	}
	return "", ""
}

// everyConnection takes all connections of the pool, so that each is another one.
func everyConnection(t *testing.T, pool *pgxpool.Pool, do func(*pgxpool.Conn)) {
	t.Helper()
	for range pool.Config().MaxConns {
		conn, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release() //nolint:revive // all of them are held until the end, on purpose
		do(conn)
	}
}
