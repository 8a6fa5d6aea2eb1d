package wire_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/wire"
)

func TestBlackHoleIsSilentAndHeals(t *testing.T) {
	b := newBench(t)
	patient, hasty := b.client(), b.client()
	b.proxy.BlackHole()

	ctx, cancel := context.WithTimeout(b.ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := hasty.Exec(ctx, insertRow, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a query into the black hole: %v, want its deadline", err)
	}
	if _, err := pgx.Connect(ctx, b.proxy.URL()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a connection into the black hole: %v, want its deadline", err)
	}
	if !b.backendLives(hasty) {
		t.Error("the server heard that its client left")
	}
	ended := b.start(patient, func(conn *pgx.Conn, id int) error {
		return oneByOne(b.ctx, conn, id)
	})
	b.proxy.Heal()
	if err := <-ended; err != nil {
		t.Errorf("the query that waited: %v", err)
	}
	b.waitBackendGone(hasty)
	b.wantStored(1, true)
	b.client()
}

func TestCutEndsEveryConnection(t *testing.T) {
	b := newBench(t)
	first, second := b.client(), b.client()
	b.mustExec(first, `BEGIN`)
	b.mustExec(first, insertRow, 1)
	b.proxy.Cut()
	for _, conn := range []*pgx.Conn{first, second} {
		if _, err := conn.Exec(b.ctx, `SELECT 1`); err == nil {
			t.Error("a connection outlived the cut")
		}
	}
	b.proxy.WaitBackendsGone(t)
	b.wantStored(1, false)
}

func TestRefuseResetsNewConnectionsOnly(t *testing.T) {
	b := newBench(t)
	old := b.client()
	b.proxy.Refuse()
	if _, err := pgx.Connect(b.ctx, b.proxy.URL()); err == nil {
		t.Error("connected although refused")
	}
	b.mustExec(old, insertRow, 1)
}

func TestCancelRequestReachesTheServer(t *testing.T) {
	b := newBench(t)
	conn := b.client()
	ended := make(chan error)
	go func() {
		_, err := conn.Exec(b.ctx, `SELECT pg_sleep(60)`)
		ended <- err
	}()
	for {
		if err := conn.PgConn().CancelRequest(b.ctx); err != nil {
			t.Fatal(err)
		}
		select { // Postgres ignores a cancel that comes before the statement.
		case err := <-ended:
			if sqlstate(err) != "57014" {
				t.Errorf("error %v, want query_canceled", err)
			}
			return
		default:
		}
	}
}

func TestEachSideLearnsOfTheOthersEnd(t *testing.T) {
	b := newBench(t)
	leaving, terminated := b.client(), b.client()
	b.mustExec(leaving, `BEGIN`)
	if err := leaving.PgConn().Conn().Close(); err != nil {
		t.Fatal(err)
	}
	b.waitBackendGone(leaving)
	b.mustExec(b.direct, `SELECT pg_terminate_backend($1)`, terminated.PgConn().PID())
	if _, err := terminated.Exec(b.ctx, `SELECT 1`); sqlstate(err) != "57P01" {
		t.Errorf("error %v, want admin_shutdown", err)
	}
}

func TestMatchCountsFromOn(t *testing.T) {
	b := newBench(t)
	conn := b.client()
	b.mustExec(conn, `SELECT 1`)
	b.proxy.On(wire.Statement("SELECT 1").Nth(3), wire.FailWith("22000"))
	for i := range 5 {
		_, err := conn.Exec(b.ctx, `-- a comment before it
			select 1`)
		if want := map[bool]string{true: "22000"}[i == 2]; sqlstate(err) != want {
			t.Errorf("query %d: %v, want %q", i+1, err, want)
		}
	}
}

func TestMatchFromOneApplication(t *testing.T) {
	b := newBench(t)
	other := b.client()
	committer, err := pgx.Connect(b.ctx, b.proxy.URL()+"&application_name=committer")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = committer.Close(context.Background()) })
	every := b.proxy.On(wire.Containing("= 5").From("committer").Every(), wire.FailWith("22000"))
	b.mustExec(other, `SELECT 4 = 5`)
	for range 2 {
		if _, err := committer.Exec(b.ctx, `SELECT 4 = 5`); sqlstate(err) != "22000" {
			t.Errorf("error %v, want 22000", err)
		}
	}
	every.Off()
	b.mustExec(committer, `SELECT 4 = 5`)
}

// recorder is a test that may fail without failing the one around it.
type recorder struct {
	testing.TB
	errors   []string
	cleanups []func()
}

func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func TestFaultThatNeverFiredFailsItsTest(t *testing.T) {
	r := &recorder{TB: t}
	proxy := wire.Start(r, pgtest.New(t).URL)
	proxy.On(wire.Commit(), wire.LoseReply)
	for _, cleanup := range r.cleanups {
		cleanup()
	}
	if len(r.errors) != 1 || !strings.HasPrefix(r.errors[0], "lose reply on commit: never fired") {
		t.Errorf("errors %q", r.errors)
	}
}

func TestCloseEndsHeldStatements(t *testing.T) {
	for _, effect := range []wire.Effect{wire.HoldBefore, wire.HoldAfter} {
		b := newBench(t)
		held := b.proxy.On(wire.Commit(), effect)
		ended := b.start(b.client(), func(conn *pgx.Conn, id int) error {
			return inOnePipeline(b.ctx, conn, id)
		})
		held.Wait(t)
		b.proxy.BlackHole()
		b.proxy.Close()
		if err := <-ended; err == nil {
			t.Error("the client heard of success")
		}
	}
}
