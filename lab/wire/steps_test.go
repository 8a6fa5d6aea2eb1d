package wire_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/wire"
)

// eachStep runs the promise for every statement of the transaction, sent in every
// shape.
func eachStep(t *testing.T, promise func(b *bench, k int, run func(*pgx.Conn, int) error)) {
	url := pgtest.New(t).URL
	for k := range commitStep + 1 {
		t.Run(fmt.Sprintf("step %d", k), func(t *testing.T) {
			eachShapeAt(t, url, func(b *bench, run func(*pgx.Conn, int) error) {
				promise(b, k, run)
			})
		})
	}
}

func TestCutLeavesTheStepsBeforeIt(t *testing.T) {
	for _, row := range []struct {
		effect wire.Effect
		after  bool // the cut comes after its own step
	}{{wire.LoseReply, true}, {wire.CutAfter, true}, {wire.DropBefore, false}} {
		eachStep(t, func(b *bench, k int, run func(*pgx.Conn, int) error) {
			cut := b.proxy.On(wire.Step(k), row.effect)
			err := run(b.client(), 1)
			if err == nil && row.effect != wire.CutAfter {
				b.t.Error("the client heard of success")
			}
			cut.Wait(b.t)
			b.proxy.WaitBackendsGone(b.t)
			b.wantStored(1, row.after && k == commitStep)
			if row.after {
				b.wantExecuted(k)
			} else {
				b.wantExecuted(k - 1)
			}
		})
	}
}

// wantExecuted expects a command tag of the server for each step up to the last, and
// none after it.
func (b *bench) wantExecuted(last int) {
	b.t.Helper()
	for _, seen := range b.proxy.Statements() {
		executed := seen.Outcome != "" && seen.Outcome != "skipped" &&
			!strings.HasPrefix(seen.Outcome, "error")
		if executed != (seen.Step <= last) {
			b.t.Errorf("%s; want executed up to step %d", seen, last)
		}
	}
}

func TestInjectedErrorFailsTheTransactionAtTheServer(t *testing.T) {
	eachStep(t, func(b *bench, k int, run func(*pgx.Conn, int) error) {
		conn := b.client()
		for _, code := range []string{"40001", "55P03"} {
			b.proxy.On(wire.Step(k), wire.FailWith(code))
			if err := run(conn, 1); sqlstate(err) != code {
				b.t.Fatalf("the client hears %v, want %s", err, code)
			}
			b.wantSameStatus(conn)
			if conn.PgConn().TxStatus() != 'I' {
				b.mustExec(conn, `ROLLBACK`)
			}
			b.wantStored(1, false)
		}
		if err := run(conn, 1); err != nil {
			b.t.Errorf("after the faults: %v", err)
		}
		b.wantStored(1, true)
	})
}

// wantSameStatus compares the transaction status at the client and at the server.
func (b *bench) wantSameStatus(conn *pgx.Conn) {
	b.t.Helper()
	var state string
	err := b.direct.QueryRow(b.ctx, `SELECT state FROM pg_stat_activity WHERE pid = $1`,
		conn.PgConn().PID()).Scan(&state)
	if err != nil {
		b.t.Fatal(err)
	}
	want := map[byte]string{
		'I': "idle", 'E': "idle in transaction (aborted)",
		'T': "idle in transaction",
	}
	if status := conn.PgConn().TxStatus(); state != want[status] {
		b.t.Errorf("the client believes %q, the server is %q", status, state)
	}
}

func TestSkippedStepDoesNotFire(t *testing.T) {
	b := newBench(t)
	b.mustExec(b.direct, insertRow, 1)
	b.proxy.On(wire.Commit(), wire.LoseReply)
	conn := b.client()
	if err := inOnePipeline(b.ctx, conn, 1); sqlstate(err) != "23505" {
		t.Fatalf("error %v, want a unique violation", err)
	}
	b.mustExec(conn, `ROLLBACK`)
	var outcomes []string
	for _, seen := range b.proxy.Statements() {
		outcomes = append(outcomes, seen.Outcome)
	}
	const want = "BEGIN, error 23505, skipped, skipped, ROLLBACK"
	if got := strings.Join(outcomes, ", "); got != want {
		t.Errorf("outcomes %q, want %q", got, want)
	}
	if err := inOnePipeline(b.ctx, conn, 2); err == nil {
		t.Error("the fault did not fire on the COMMIT that was executed")
	}
}

func TestHoldAfterKeepsTheLocksOfTheStatement(t *testing.T) {
	eachShape(t, func(b *bench, run func(*pgx.Conn, int) error) {
		held := b.proxy.On(wire.Statement("INSERT INTO wire_rows"), wire.HoldAfter)
		ended := b.start(b.client(), run)
		held.Wait(b.t)
		b.mustExec(b.direct, `SET lock_timeout = '20ms'`)
		if _, err := b.direct.Exec(b.ctx, insertRow, 1); sqlstate(err) != "55P03" {
			b.t.Errorf("a rival's INSERT: %v, want it blocked", err)
		}
		held.Release()
		if err := <-ended; err != nil {
			b.t.Error(err)
		}
	})
}

func TestHoldBeforeLeavesNoTraceAtTheServer(t *testing.T) {
	eachShape(t, func(b *bench, run func(*pgx.Conn, int) error) {
		conn := b.client()
		// A Parse in a round trip of its own would take a lock.
		if err := run(conn, 0); err != nil {
			b.t.Fatal(err)
		}
		held := b.proxy.On(wire.Statement("insert  into WIRE_ROWS"), wire.HoldBefore)
		ended := b.start(conn, run)
		held.Wait(b.t)
		b.mustExec(b.direct, `SET lock_timeout = '10ms'`)
		b.mustExec(b.direct, `ALTER TABLE wire_rows ADD COLUMN meanwhile int`)
		held.Release()
		if err := <-ended; err != nil {
			b.t.Error(err)
		}
	})
}

func TestCutOfAHeldStatementLosesLaterStatements(t *testing.T) {
	for _, hold := range []wire.Effect{wire.HoldBefore, wire.HoldAfter} {
		eachShape(t, func(b *bench, run func(*pgx.Conn, int) error) {
			held := b.proxy.On(wire.Statement("INSERT INTO wire_rows"), hold)
			ended := b.start(b.client(), run)
			held.Wait(b.t)
			held.Cut()
			if err := <-ended; err == nil {
				b.t.Error("the client heard of success")
			}
			b.proxy.WaitBackendsGone(b.t)
			b.wantStored(1, false)
			b.mustExec(b.direct, `SET lock_timeout = '20ms'`)
			b.mustExec(b.direct, insertRow, 1)
		})
	}
}
