package wire_test

import (
	"cmp"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/wire"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// bench is a proxy in front of a database, and a connection past the proxy.
type bench struct {
	t      *testing.T
	ctx    context.Context
	proxy  *wire.Proxy
	direct *pgx.Conn
	mode   string // of the clients; see shape
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return newBenchAt(t, pgtest.New(t).URL)
}

// newBenchAt is for subtests, which share the database of their test one after the
// other.
func newBenchAt(t *testing.T, url string) *bench {
	t.Helper()
	known := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, known) })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	direct, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = direct.Close(context.Background()) })
	b := &bench{t: t, ctx: ctx, proxy: wire.Start(t, url), direct: direct}
	b.mustExec(direct, `DROP TABLE IF EXISTS wire_rows`)
	b.mustExec(direct, `CREATE TABLE wire_rows (id bigint PRIMARY KEY, body text NOT NULL)`)
	return b
}

// client connects through the proxy.
func (b *bench) client() *pgx.Conn {
	b.t.Helper()
	conn, err := pgx.Connect(b.ctx, b.proxy.URL()+"&default_query_exec_mode="+
		cmp.Or(b.mode, "cache_statement"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (b *bench) mustExec(conn *pgx.Conn, sql string, args ...any) {
	b.t.Helper()
	if _, err := conn.Exec(b.ctx, sql, args...); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
}

func (b *bench) wantStored(id int, want bool) {
	b.t.Helper()
	var stored bool
	if err := b.direct.QueryRow(b.ctx, `SELECT EXISTS (SELECT FROM wire_rows WHERE id = $1)`, id).
		Scan(&stored); err != nil {
		b.t.Fatal(err)
	}
	if stored != want {
		b.t.Errorf("row %d is stored: %t, want %t", id, stored, want)
	}
}

// start runs the transaction of row 1 in the background.
func (b *bench) start(conn *pgx.Conn, run func(*pgx.Conn, int) error) <-chan error {
	ended, left := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(left)
		ended <- run(conn, 1)
	}()
	b.t.Cleanup(func() { // after a failure, the fault still holds it
		b.proxy.Close()
		<-left
	})
	return ended
}

func (b *bench) backendLives(conn *pgx.Conn) (lives bool) {
	b.t.Helper()
	err := b.direct.QueryRow(b.ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)`,
		conn.PgConn().PID()).Scan(&lives)
	if err != nil {
		b.t.Fatal(err)
	}
	return lives
}

func (b *bench) waitBackendGone(conn *pgx.Conn) {
	b.t.Helper()
	for b.backendLives(conn) { // each turn is a round trip, and b.ctx bounds them all
	}
}

func sqlstate(err error) string {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr.Code
	}
	return ""
}
