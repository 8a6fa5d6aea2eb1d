package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// The units of these tests make merchants, which need no other rows. The tests of
// internal/payments lose the answer of a COMMIT.

// run runs a unit without time pressure.
func run(t *testing.T, c *postgres.Committer, unit postgres.Unit) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return c.Run(ctx, unit)
}

// send makes a round trip of one statement.
func send(ctx context.Context, tx *postgres.Tx, sql string, args ...any) error {
	tx.Statements().Queue(sql, args...)
	return tx.Send(ctx)
}

const newMerchant = `INSERT INTO merchants (id, name) VALUES ($1, 'unit')`

// makeNothing is a unit that commits an empty transaction.
func makeNothing(ctx context.Context, tx *postgres.Tx) error {
	if err := send(ctx, tx, `SELECT`); err != nil {
		return err
	}
	return commit(ctx, tx)
}

func commit(ctx context.Context, tx *postgres.Tx) error {
	return tx.Commit(ctx)
}

// makeMerchant is a unit that succeeds, unless the database is in the way.
func makeMerchant(id int64) postgres.Unit {
	return func(ctx context.Context, tx *postgres.Tx) error {
		if err := send(ctx, tx, newMerchant, id); err != nil {
			return err
		}
		return commit(ctx, tx)
	}
}

func wantMerchants(t *testing.T, db *pgtest.DB, want string) {
	t.Helper()
	got := read[string](t, db.Pool,
		`SELECT coalesce(string_agg(id::text, ' ' ORDER BY id), 'none') FROM merchants`)
	if got != want {
		t.Errorf("the merchants are %s, want %s", got, want)
	}
}

// backendOf is the server process of the pool's one connection, which must be idle and
// have no lock.
func backendOf(t *testing.T, db *pgtest.DB, pool *pgxpool.Pool) uint32 {
	t.Helper()
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	pid := conn.Conn().PgConn().PID()
	if status := conn.Conn().PgConn().TxStatus(); status != 'I' {
		t.Errorf("a connection in state %q is in the pool", status)
	}
	await.Until(t, 10*time.Second, "the connection is idle and has no lock", func() bool {
		return read[bool](t, db.Pool, `
			SELECT state = 'idle' AND xact_start IS NULL
				AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid)
			FROM pg_stat_activity a
			WHERE a.pid = $1`, pid)
	})
	return pid
}

func TestAUnitThatAsksForItRunsAgainFromNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	runs := int64(0)
	committer := newCommitter(open(t, db.URL))
	err := run(t, committer, func(ctx context.Context, tx *postgres.Tx) error {
		runs++
		if err := send(ctx, tx, newMerchant, runs); err != nil {
			return err
		}
		if runs < 3 {
			return fmt.Errorf("what was read has changed: %w", postgres.ErrAgain)
		}
		return commit(ctx, tx)
	})
	if err != nil || runs != 3 {
		t.Errorf("%d runs, and %v; want 3 and success", runs, err)
	}
	want := postgres.CommitterStats{RerunsAfterConflict: 2}
	if got := committer.Stats(); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	wantMerchants(t, db, "3")
}

func TestARefusedUnitRunsOnceAndLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		unit       postgres.Unit
		constraint string // in whose name the database refuses; "": it is our own refusal
	}{
		{"by a statement", func(ctx context.Context, tx *postgres.Tx) error {
			if err := send(ctx, tx, newMerchant, 7); err != nil {
				return err
			}
			return send(ctx, tx, newMerchant, -1)
		}, "merchants_id_positive"},
		{"by a statement that goes with COMMIT", func(ctx context.Context, tx *postgres.Tx) error {
			if err := send(ctx, tx, newMerchant, 7); err != nil {
				return err
			}
			tx.Statements().Queue(newMerchant, -1)
			return tx.Commit(ctx)
		}, "merchants_id_positive"},
		{"by COMMIT itself", func(ctx context.Context, tx *postgres.Tx) error {
			if err := send(ctx, tx, newMerchant, 7); err != nil {
				return err
			}
			tx.Statements().Queue(newMerchant, 8)
			return tx.Commit(ctx)
		}, "names_differ"},
		{"because it forgot to commit", func(ctx context.Context, tx *postgres.Tx) error {
			return send(ctx, tx, newMerchant, 7)
		}, ""},
		{"because it did nothing", func(context.Context, *postgres.Tx) error { return nil }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			execute(t, db.Pool, `
				ALTER TABLE merchants
				ADD CONSTRAINT names_differ UNIQUE (name) DEFERRABLE INITIALLY DEFERRED`)
			pools := open(t, db.URL)
			c := newCommitter(pools)
			before := backendOf(t, db, pools.Money)
			runs := 0
			err := run(t, c, func(ctx context.Context, tx *postgres.Tx) error {
				runs++
				return test.unit(ctx, tx)
			})
			if err == nil || errors.Is(err, postgres.ErrUnavailable) ||
				errors.Is(err, postgres.ErrOutcomeUnknown) {
				t.Errorf("got %v, want a refusal", err)
			}
			if _, constraint := refusal(err); constraint != test.constraint || runs != 1 {
				t.Errorf("refused by %q in %d runs (%v); want %q in one", constraint, runs, err,
					test.constraint)
			}
			wantMerchants(t, db, "none")
			if after := backendOf(t, db, pools.Money); after != before {
				t.Error("the connection was not kept")
			}
			if err := run(t, c, makeMerchant(9)); err != nil {
				t.Errorf("the next unit: %v", err)
			}
		})
	}
}

func TestPanickingUnitFreesLocksAndConnection(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(){"panic": func() {
		panic("a bug")
	}, "exit of the goroutine": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			execute(t, db.Pool, newMerchant, 1)
			c := newCommitter(open(t, db.URL))
			over := make(chan any)
			// The reference keeps the garbage collector from closing a leaked
			// connection.
			var panicked *postgres.Tx
			go func() {
				defer func() { over <- recover() }()
				_ = run(t, c, func(ctx context.Context, tx *postgres.Tx) error {
					panicked = tx
					// Without this the server would end a leaked connection after two
					// seconds.
					const forEver = `SET LOCAL idle_in_transaction_session_timeout = 0`
					err := errors.Join(send(ctx, tx, forEver), send(ctx, tx, newMerchant, 2))
					if err != nil {
						return err
					}
					end()
					return nil
				})
			}()
			<-over
			// It waits if merchant 2 of the first unit is still there.
			if err := run(t, c, makeMerchant(2)); err != nil {
				t.Errorf("the next unit: %v", err)
			}
			runtime.KeepAlive(panicked)
			wantMerchants(t, db, "1 2")
		})
	}
}

// No COMMIT was sent, so the outcome is known: nothing was done.
func TestUnitWithoutCommitInTimeIsUnavailable(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		disturb func(*testing.T, *pgtest.DB, *postgres.Pools) (undo func())
		unit    postgres.Unit
	}{
		{"waiting for a rival's lock", holdMerchant, makeMerchant(1)},
		{"waiting for a connection", holdConnection, makeMerchant(1)},
		{"asking to run again for ever", nil, func(ctx context.Context, tx *postgres.Tx) error {
			if err := send(ctx, tx, newMerchant, 1); err != nil {
				return err
			}
			return postgres.ErrAgain
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			pools := open(t, db.URL)
			c := newCommitter(pools)
			undo := func() {}
			if test.disturb != nil {
				undo = test.disturb(t, db, pools)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			err := c.Run(ctx, test.unit)
			if !errors.Is(err, postgres.ErrUnavailable) ||
				errors.Is(err, postgres.ErrOutcomeUnknown) {
				t.Errorf("got %v, want %v", err, postgres.ErrUnavailable)
			}
			undo()
			if err := run(t, c, makeMerchant(1)); err != nil {
				t.Errorf("the same unit with more time: %v", err)
			}
			wantMerchants(t, db, "1")
		})
	}
}

// holdMerchant makes merchant 1 in a transaction that undo rolls back.
func holdMerchant(t *testing.T, db *pgtest.DB, _ *postgres.Pools) (undo func()) {
	t.Helper()
	rival, err := db.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	execute(t, rival, newMerchant, 1)
	return func() {
		if err := rival.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// holdConnection takes the only money connection.
func holdConnection(t *testing.T, _ *pgtest.DB, pools *postgres.Pools) (undo func()) {
	t.Helper()
	conn, err := pools.Money.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return conn.Release
}
