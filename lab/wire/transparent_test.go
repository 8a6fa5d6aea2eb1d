package wire_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/paymentsvc/paymentsvc/lab/wire"
)

func TestWithoutFaultsEveryKindOfQueryPasses(t *testing.T) {
	b := newBench(t)
	modes := []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe,
		pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	}
	conn := b.client()
	for _, mode := range modes {
		for range 2 { // the second time, what can be cached is
			var sum int
			if err := conn.QueryRow(b.ctx, `SELECT $1::int + $2::int`, mode, 40, 2).
				Scan(&sum); err != nil || sum != 42 {
				t.Errorf("%s: %d, %v; want 42", mode, sum, err)
			}
		}
	}
}

func TestWithoutFaultsATransactionPasses(t *testing.T) {
	eachShape(t, func(b *bench, run func(*pgx.Conn, int) error) {
		conn := b.client()
		for id := range 3 {
			if err := run(conn, id); err != nil {
				b.t.Fatal(err)
			}
			b.wantStored(id, true)
		}
		var got []string
		for _, seen := range b.proxy.Transaction("wire_rows") {
			got = append(got, seen.Tag)
		}
		if want := "BEGIN,INSERT 0 1,SELECT 1,COMMIT"; strings.Join(got, ",") != want {
			b.t.Errorf("tags %q, want %q", got, want)
		}
	})
}

func TestAnErrorInAPipelineSkipsUpToSync(t *testing.T) {
	b := newBench(t)
	conn := b.client()
	b.mustExec(conn, insertRow, 1)
	b.proxy.Forget()

	err := inOnePipeline(b.ctx, conn, 1)
	if sqlstate(err) != "23505" {
		t.Fatalf("error %v, want a unique violation", err)
	}
	b.mustExec(conn, `ROLLBACK`)
	seen := b.proxy.Statements()
	if len(seen) != 5 || seen[1].SQLState != "23505" || !seen[2].Skipped || !seen[3].Skipped ||
		seen[4].Tag != "ROLLBACK" {
		t.Errorf("statements %v", seen)
	}
	b.mustExec(conn, insertRow, 2)
}

func TestCopyPasses(t *testing.T) {
	b := newBench(t)
	conn := b.client()
	rows := make([][]any, 5000)
	for i := range rows {
		rows[i] = []any{i, "copied"}
	}
	n, err := conn.CopyFrom(b.ctx, pgx.Identifier{"wire_rows"}, []string{"id", "body"},
		pgx.CopyFromRows(rows))
	if err != nil || n != 5000 {
		t.Fatalf("copied %d rows: %v", n, err)
	}
	var out bytes.Buffer
	if _, err := conn.PgConn().CopyTo(b.ctx, &out, `COPY wire_rows TO STDOUT`); err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(out.Bytes(), []byte("\n")); lines != 5000 {
		t.Errorf("copied %d rows back", lines)
	}
	_, err = conn.CopyFrom(b.ctx, pgx.Identifier{"wire_rows"}, []string{"id", "body"},
		pgx.CopyFromRows(rows[:1]))
	if sqlstate(err) != "23505" {
		t.Errorf("error %v, want a unique violation", err)
	}
	b.mustExec(conn, insertRow, 6000)
}

func TestLargeValuesPassBothWays(t *testing.T) {
	b := newBench(t)
	conn := b.client()
	large := strings.Repeat("0123456789abcdef", 1<<20)
	var back string
	if err := conn.QueryRow(b.ctx, `SELECT $1::text`, large).Scan(&back); err != nil ||
		back != large {
		t.Errorf("%d bytes came back of %d: %v", len(back), len(large), err)
	}
}

func TestCancelRequestsReachTheServer(t *testing.T) {
	b := newBench(t)
	conn := b.client()
	held := b.proxy.On(wire.Statement("SELECT pg_sleep"), wire.HoldBefore)
	ended := make(chan error)
	go func() {
		_, err := conn.Exec(b.ctx, `SELECT pg_sleep(60)`)
		ended <- err
	}()
	held.Wait(t)
	held.Release()
	for {
		if err := conn.PgConn().CancelRequest(b.ctx); err != nil {
			t.Fatal(err)
		}
		select { // a cancel that comes before the statement is lost, as with any Postgres
		case err := <-ended:
			if sqlstate(err) != "57014" {
				t.Errorf("error %v, want query_canceled", err)
			}
			return
		default:
		}
	}
}

func TestEncryptionIsRefusedSoThatTheClientGoesOnInPlainText(t *testing.T) {
	b := newBench(t)
	url := strings.Replace(b.proxy.URL(), "sslmode=disable", "sslmode=prefer", 1)
	conn, err := pgx.Connect(b.ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(b.ctx); err != nil {
		t.Error(err)
	}
}

func TestANoticeIsKnownByItsStatement(t *testing.T) {
	b := newBench(t)
	conn := b.client()
	b.mustExec(conn, `DROP TABLE IF EXISTS wire_no_such_table`)
	seen := b.proxy.Statements()
	if len(seen) != 1 || len(seen[0].Warnings) != 1 ||
		!strings.Contains(seen[0].Warnings[0], "does not exist") {
		t.Errorf("statements %+v", seen)
	}
}

func TestAClientThatLeavesEndsItsBackend(t *testing.T) {
	b := newBench(t)
	conn := b.client()
	b.mustExec(conn, `BEGIN`)
	if err := conn.PgConn().Conn().Close(); err != nil {
		t.Fatal(err)
	}
	b.waitBackendGone(conn)
}

func TestAServerThatTerminatesIsHeardByTheClient(t *testing.T) {
	b := newBench(t)
	conn := b.client()
	b.mustExec(b.direct, `SELECT pg_terminate_backend($1)`, conn.PgConn().PID())
	_, err := conn.Exec(b.ctx, `SELECT 1`)
	if sqlstate(err) != "57P01" {
		t.Errorf("error %v, want admin_shutdown", err)
	}
}

func sqlstate(err error) string {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr.Code
	}
	return ""
}
