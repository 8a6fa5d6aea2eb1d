package wire_test

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/wire"
)

// TestEffectsOnCommit compares the error at the client with the committed rows.
func TestEffectsOnCommit(t *testing.T) {
	lost := func(err error) bool { return err != nil && sqlstate(err) == "" }
	refused := func(code string) func(error) bool {
		return func(err error) bool { return sqlstate(err) == code }
	}
	rolledBack := func(err error) bool { return errors.Is(err, pgx.ErrTxCommitRollback) }
	success := func(err error) bool { return err == nil }
	rows := []struct {
		name   string
		effect wire.Effect
		hears  func(error) bool
		stored bool
		usable bool // the client's connection, afterwards
	}{
		{"the request is lost", wire.DropBefore, lost, false, false},
		{"the acknowledgement is lost", wire.LoseReply, lost, true, false},
		{"only the tag arrives", wire.CutBeforeReady, lost, true, false},
		{"the connection ends after the acknowledgement", wire.CutAfter, success, true, false},
		{"refused by 40001", wire.FailWith("40001"), refused("40001"), false, true},
		{"the backend ends before", wire.FatalBefore("57P01"), refused("57P01"), false, false},
		{"the backend ends after", wire.FatalAfter("57P01"), refused("57P01"), true, false},
		{"rolled back instead", wire.RollBackInstead, rolledBack, false, true},
		{"the tag lies", wire.Retag("ROLLBACK"), rolledBack, true, true},
		{"a warning, then success", wire.SyncRepCancelled, success, true, true},
	}
	url := pgtest.New(t).URL
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			eachShapeAt(t, url, func(b *bench, run func(*pgx.Conn, int) error) {
				conn := b.client()
				// Statements are prepared before the fault.
				if err := run(conn, 1); err != nil {
					b.t.Fatal(err)
				}
				fault := b.proxy.On(wire.Commit(), row.effect)
				if err := run(conn, 2); !row.hears(err) {
					b.t.Errorf("the client hears %v", err)
				}
				fault.Wait(b.t)
				b.proxy.WaitBackendsGone(b.t)
				b.wantStored(2, row.stored)
				b.wantUsable(conn, row.usable)
			})
		})
	}
}

// wantUsable runs another transaction on a connection that should be idle, or finds it
// dead.
func (b *bench) wantUsable(conn *pgx.Conn, want bool) {
	b.t.Helper()
	status := conn.PgConn().TxStatus()
	if want && status != 'I' {
		b.t.Errorf("transaction status %q, want idle", status)
	}
	if err := inOnePipeline(b.ctx, conn, 100); (err == nil) != want {
		b.t.Errorf("another transaction: %v; want the connection usable: %t", err, want)
	}
	b.wantStored(100, want)
}

func TestHeldCommit(t *testing.T) {
	url := pgtest.New(t).URL
	for _, row := range []struct {
		name   string
		hold   wire.Effect
		stored bool // while the fault holds
	}{{"request", wire.HoldBefore, false}, {"reply", wire.HoldAfter, true}} {
		t.Run(row.name, func(t *testing.T) {
			eachShapeAt(t, url, func(b *bench, run func(*pgx.Conn, int) error) {
				held := b.proxy.On(wire.Commit(), row.hold)
				ended := b.start(b.client(), run)
				held.Wait(b.t)
				b.wantStored(1, row.stored)
				select {
				case err := <-ended:
					b.t.Errorf("the client heard %v during the hold", err)
				default:
				}
				held.Release()
				if err := <-ended; err != nil {
					b.t.Error(err)
				}
				b.wantStored(1, true)
			})
		})
	}
}

func TestHeldCommitIsDoneAfterTheClientLeft(t *testing.T) {
	b := newBench(t)
	held := b.proxy.On(wire.Commit(), wire.HoldBefore)
	conn := b.client()
	ended := b.start(conn, func(conn *pgx.Conn, id int) error {
		return inOnePipeline(b.ctx, conn, id)
	})
	held.Wait(t)
	if err := conn.PgConn().Conn().Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("a client that left heard of success")
	}
	held.Release()
	b.waitBackendGone(conn)
	b.wantStored(1, true)
}

func TestImplicitTransactionIsUndoneByACut(t *testing.T) {
	b := newBench(t)
	b.proxy.On(wire.Statement("INSERT INTO wire_rows"), wire.CutAfter)
	batch := &pgx.Batch{}
	batch.Queue(insertRow, 1)
	batch.Queue(selectRow, 1)
	if err := send(b.ctx, b.client(), batch); err == nil {
		t.Error("the client heard of success")
	}
	b.proxy.WaitBackendsGone(t)
	b.wantStored(1, false) // only the Sync after the SELECT commits
}

func TestStatementsAfterARefusedCommitAreSkipped(t *testing.T) {
	b := newBench(t)
	b.proxy.On(wire.Commit(), wire.FailWith("40001"))
	batch := &pgx.Batch{}
	batch.Queue(`BEGIN`)
	batch.Queue(insertRow, 1)
	batch.Queue(`COMMIT`)
	batch.Queue(insertRow, 2)
	conn := b.client()
	if err := send(b.ctx, conn, batch); sqlstate(err) != "40001" {
		t.Errorf("the client hears %v, want 40001", err)
	}
	b.wantStored(1, false)
	b.wantStored(2, false)
	b.wantUsable(conn, true)
}
