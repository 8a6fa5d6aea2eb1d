package wire_test

import (
	"fmt"
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

func TestCutAfterAStepTheServerHasExecutedExactlyUpToIt(t *testing.T) {
	for _, effect := range []wire.Effect{wire.CutAfter, wire.CutBeforeReady, wire.LoseReply,
		wire.FatalAfter("57P01")} {
		eachStep(t, func(b *bench, k int, run func(*pgx.Conn, int) error) {
			cut := b.proxy.On(wire.Step(k), effect)
			_ = run(b.client(), 1)
			cut.Wait(b.t)
			b.proxy.WaitBackendsGone(b.t)
			b.wantStored(1, k == commitStep)
			b.wantExecuted(k)
		})
	}
}

func TestDroppedAtAStepTheServerHasExecutedEverythingBeforeIt(t *testing.T) {
	for _, effect := range []wire.Effect{wire.DropBefore, wire.FatalBefore("57P01")} {
		eachStep(t, func(b *bench, k int, run func(*pgx.Conn, int) error) {
			b.proxy.On(wire.Step(k), effect)
			if err := run(b.client(), 1); err == nil {
				b.t.Error("the client heard of success")
			}
			b.proxy.WaitBackendsGone(b.t)
			b.wantStored(1, false)
			b.wantExecuted(k - 1)
		})
	}
}

// wantExecuted looks at the server's own tags: one for each step up to the last, none
// after it.
func (b *bench) wantExecuted(last int) {
	b.t.Helper()
	for _, seen := range b.proxy.Statements() {
		if executed := seen.Tag != ""; executed != (seen.Step <= last) {
			b.t.Errorf("%s; want executed up to step %d", seen, last)
		}
	}
}

func TestAnInjectedErrorFailsTheTransactionAtTheServerToo(t *testing.T) {
	eachStep(t, func(b *bench, k int, run func(*pgx.Conn, int) error) {
		conn := b.client()
		for _, code := range []string{"40001", "40P01", "55P03"} {
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

// wantSameStatus asks the server what the client believes about its transaction.
func (b *bench) wantSameStatus(conn *pgx.Conn) {
	b.t.Helper()
	var state string
	err := b.direct.QueryRow(b.ctx, `SELECT state FROM pg_stat_activity WHERE pid = $1`,
		conn.PgConn().PID()).Scan(&state)
	if err != nil {
		b.t.Fatal(err)
	}
	want := map[byte]string{'I': "idle", 'E': "idle in transaction (aborted)",
		'T': "idle in transaction"}
	if status := conn.PgConn().TxStatus(); state != want[status] {
		b.t.Errorf("the client believes %q, the server is %q", status, state)
	}
}

func TestAStepThatTheServerSkipsDoesNotFire(t *testing.T) {
	b := newBench(t)
	b.mustExec(b.direct, insertRow, 1)
	never := b.proxy.On(wire.Commit(), wire.LoseReply).Optional()
	conn := b.client()
	if err := inOnePipeline(b.ctx, conn, 1); sqlstate(err) != "23505" {
		t.Fatalf("error %v, want a unique violation", err)
	}
	if never.Fired() != 0 {
		t.Error("the fault fired on a COMMIT that the server skipped")
	}
	b.mustExec(conn, `ROLLBACK`)
	if err := inOnePipeline(b.ctx, conn, 2); err == nil || never.Fired() != 1 {
		t.Errorf("error %v, fired %d times: the skipped COMMIT should not count", err,
			never.Fired())
	}
}

func TestHeldAfterAStatementItsLocksAreTaken(t *testing.T) {
	eachShape(t, func(b *bench, run func(*pgx.Conn, int) error) {
		held := b.proxy.On(wire.Statement("INSERT INTO wire_rows"), wire.HoldAfter)
		ended := b.start(run)
		held.Wait(b.t)
		if err := b.rival(); sqlstate(err) != "55P03" {
			b.t.Errorf("a rival's INSERT: %v, want it blocked", err)
		}
		held.Release()
		if err := <-ended; err != nil {
			b.t.Error(err)
		}
	})
}

func TestHeldBeforeAStatementTheServerHasNoTraceOfIt(t *testing.T) {
	eachShape(t, func(b *bench, run func(*pgx.Conn, int) error) {
		conn := b.client()
		// a Parse in a round trip of its own takes its locks then
		if err := run(conn, 0); err != nil {
			b.t.Fatal(err)
		}
		held := b.proxy.On(wire.Statement("insert  into WIRE_ROWS"), wire.HoldBefore)
		ended := b.startOn(conn, run)
		held.Wait(b.t)
		b.mustExec(b.direct, `SET lock_timeout = '10ms'`)
		b.mustExec(b.direct, `ALTER TABLE wire_rows ADD COLUMN meanwhile int`)
		held.Release()
		if err := <-ended; err != nil {
			b.t.Error(err)
		}
	})
}

func TestCutWhileHeldLosesWhatTheClientHadSent(t *testing.T) {
	for _, hold := range []wire.Effect{wire.HoldBefore, wire.HoldAfter} {
		eachShape(t, func(b *bench, run func(*pgx.Conn, int) error) {
			held := b.proxy.On(wire.Statement("INSERT INTO wire_rows"), hold)
			ended := b.start(run)
			held.Wait(b.t)
			held.Cut()
			if err := <-ended; err == nil {
				b.t.Error("the client heard of success")
			}
			b.proxy.WaitBackendsGone(b.t)
			b.wantStored(1, false)
			if err := b.rival(); err != nil {
				b.t.Errorf("a rival's INSERT: %v", err)
			}
		})
	}
}

func TestABackendThatIsLeftKeepsItsLocksUntilReleased(t *testing.T) {
	left := map[string]func(*wire.Proxy) *wire.Fault{
		"reply lost": func(p *wire.Proxy) *wire.Fault {
			return p.On(wire.Statement("INSERT INTO wire_rows"), wire.LoseReply.LeavingServer())
		},
		"next statement lost": func(p *wire.Proxy) *wire.Fault {
			return p.On(wire.Statement("SELECT id FROM wire_rows"),
				wire.DropBefore.LeavingServer())
		},
	}
	for name, fault := range left {
		t.Run(name, func(t *testing.T) {
			eachShape(t, func(b *bench, run func(*pgx.Conn, int) error) {
				f := fault(b.proxy)
				if err := <-b.start(run); err == nil {
					b.t.Error("the client heard of success")
				}
				if err := b.rival(); sqlstate(err) != "55P03" {
					b.t.Errorf("a rival's INSERT: %v, want it blocked", err)
				}
				f.Release()
				b.proxy.WaitBackendsGone(b.t)
				if err := b.rival(); err != nil {
					b.t.Errorf("a rival's INSERT after the release: %v", err)
				}
			})
		})
	}
}

// rival inserts row 1 past the proxy and does not wait for locks.
func (b *bench) rival() error {
	b.t.Helper()
	b.mustExec(b.direct, `SET lock_timeout = '20ms'`)
	_, err := b.direct.Exec(b.ctx, insertRow, 1)
	return err
}
