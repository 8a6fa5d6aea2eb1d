package wire_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/wire"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// bench is a proxy in front of a database, and a connection past the proxy to ask for
// the truth.
type bench struct {
	t      *testing.T
	ctx    context.Context
	proxy  *wire.Proxy
	direct *pgx.Conn
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
	conn, err := pgx.Connect(b.ctx, b.proxy.URL())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// clientWithNotices also writes down what the server says besides.
func (b *bench) clientWithNotices(heard *[]string) *pgx.Conn {
	b.t.Helper()
	config, err := pgx.ParseConfig(b.proxy.URL())
	if err != nil {
		b.t.Fatal(err)
	}
	config.OnNotice = func(_ *pgconn.PgConn, notice *pgconn.Notice) {
		*heard = append(*heard, notice.Severity+" "+notice.Code)
	}
	conn, err := pgx.ConnectConfig(b.ctx, config)
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

// stored says whether the row is committed.
func (b *bench) stored(id int) bool {
	b.t.Helper()
	var count int
	if err := b.direct.QueryRow(b.ctx, `SELECT count(*) FROM wire_rows WHERE id = $1`, id).
		Scan(&count); err != nil {
		b.t.Fatal(err)
	}
	return count == 1
}

func (b *bench) wantStored(id int, want bool) {
	b.t.Helper()
	if got := b.stored(id); got != want {
		b.t.Errorf("row %d is stored: %t, want %t", id, got, want)
	}
}
