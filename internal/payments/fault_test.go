package payments

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/wire"
)

// Each fault of this file hits one statement between the engine and Postgres. The
// promise is the same after every fault: the caller gets the true result or "unknown",
// and the same key ends in one operation.

// bench is an engine whose database connections go through a proxy, beside one whose
// connections do not.
type bench struct {
	proxy    *wire.Proxy
	faulty   *Service
	healthy  *Service
	merchant int64
	t        *testing.T
}

func newBench(t *testing.T) *bench {
	t.Helper()
	db := pgtest.New(t)
	healthy := newService(t, db.URL)
	merchant := newMerchant(t, healthy, map[string]int64{"a": 1000, "b": 0})
	proxy := wire.Start(t, db.URL)
	return &bench{
		proxy: proxy, faulty: newService(t, proxy.URL()), healthy: healthy,
		merchant: merchant, t: t,
	}
}

// committers are the connections that carry money transactions.
func committers(m wire.Match) wire.Match { return m.From("paymentsvc-money") }

// After a lost acknowledgement the service runs the same keys again. It must not take
// its own claim for a rival's (docs/bugs.md, "own retry taken for a rival").
func TestCommitFaultsLeaveOneOperation(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		effect wire.Effect
	}{
		{"COMMIT took effect and its answer was lost", wire.LoseReply},
		{"COMMIT was lost", wire.DropBefore},
		{"the tag arrived, but not the end of the transaction", wire.CutBeforeReady},
		{"the connection closed just after the answer", wire.CutAfter},
		{"COMMIT took effect, and the server said FATAL 57P01", wire.FatalAfter("57P01")},
		{"COMMIT did not, and the server said FATAL 57P01", wire.FatalBefore("57P01")},
		{"the server said ROLLBACK, and had rolled back", wire.RollBackInstead},
		{"the server said ROLLBACK, and had committed", wire.Retag("ROLLBACK")},
		{"the wait for the synchronous standby was cancelled", wire.SyncRepCancelled},
		{"the server warned", wire.Warn("01000", "something")},
		{"COMMIT failed to serialize", wire.FailWith("40001")},
		{"COMMIT deadlocked", wire.FailWith("40P01")},
		{"the server was shutting down", wire.FailWith("57P01")},
		{"the disk was full", wire.FailWith("53100")},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			for _, c := range operationCases {
				a := newTrial(t, b.healthy, c)
				b.proxy.Forget()
				b.strike(a, wire.Commit(), test.effect)
				// Only a complete acknowledgement may be believed.
				if asked := b.commits(); test.effect != wire.CutAfter && asked < 2 {
					t.Errorf("%s was answered after %d COMMIT", c.name, asked)
				}
			}
		})
	}
}

// strike tries the operation through a fault at a statement of its transaction.
func (b *bench) strike(a *trial, at wire.Match, effect wire.Effect) *wire.Fault {
	b.t.Helper()
	fault := b.proxy.On(committers(at), effect)
	caller := a.caller()
	reply, err := a.request.send(b.t.Context(), b.faulty, caller)
	fault.Wait(b.t)
	a.wantDone(caller, reply, err)
	return fault
}

// commits counts the COMMITs of money transactions that reached the proxy.
func (b *bench) commits() (n int) {
	for _, statement := range b.proxy.Statements() {
		if statement.App == "paymentsvc-money" && strings.EqualFold(statement.SQL, "commit") {
			n++
		}
	}
	return n
}

// A write outside the transaction would survive its failure (docs/bugs.md, "write
// outside the transaction").
func TestStatementFaultsLeaveOneOperation(t *testing.T) {
	t.Parallel()
	clean := newBench(t)
	steps := map[string]int{}
	for _, c := range operationCases {
		a := newTrial(t, clean.healthy, c)
		caller := a.caller()
		reply, err := a.request.send(t.Context(), clean.faulty, caller)
		a.wantDone(caller, reply, err)
		statements := clean.proxy.Transaction("INSERT INTO idempotency_keys")
		if steps[c.name] = len(statements); len(statements) < 8 {
			t.Fatalf("%s has %d statements: %v", c.name, len(statements), statements)
		}
	}
	onlyTheCharge := []operationCase{chargeCase}
	for _, test := range []struct {
		name   string
		effect wire.Effect
		cases  []operationCase // each is hit at every statement
	}{
		{"the connection is cut before it", wire.DropBefore, operationCases},
		{"the connection is cut after it", wire.CutAfter, onlyTheCharge},
		{"its answer is lost", wire.LoseReply, operationCases},
		{"it fails to serialize", wire.FailWith("40001"), onlyTheCharge},
		{"it deadlocks", wire.FailWith("40P01"), operationCases},
		{"it waits too long for a lock", wire.FailWith("55P03"), onlyTheCharge},
		{"its transaction is read-only", wire.FailWith("25006"), onlyTheCharge},
		{"the backend is terminated at it", wire.FatalBefore("57P01"), onlyTheCharge},
		{"the backend is terminated with it", wire.FatalAfter("57P01"), onlyTheCharge},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			for _, c := range test.cases {
				for step := range steps[c.name] {
					b.strike(newTrial(t, b.healthy, c), wire.Step(step), test.effect)
				}
			}
		})
	}
}

// The lost acknowledgement is that of fifty charges. Each of them finds its own answer.
func TestBatchWhoseCommitIsLostIsResolvedWhole(t *testing.T) {
	t.Parallel()
	const n = 50
	for name, effect := range map[string]wire.Effect{
		"took effect": wire.LoseReply, "did not": wire.DropBefore,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.proxy.On(committers(wire.Commit()), effect)
			batch := make([]*operation, n)
			for i := range batch {
				batch[i] = newCharge(callerWith(b.merchant, fmt.Sprint("k", i)), aToB(1))
			}
			if err := b.faulty.transact(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			for i, op := range batch {
				if op.record == nil || op.record.RequestID != op.claim.RequestID ||
					op.record.PaymentID != op.claim.PaymentID {
					t.Errorf("charge %d does not find its own answer: %+v", i, op.record)
				}
			}
			if got := balanceOf(t, b.healthy, b.merchant, "b"); got != n {
				t.Errorf("b got %d, want %d", got, n)
			}
		})
	}
}

// hasty gives up early, so that a test of giving up is quick.
func hasty(c *Config) { c.Timeout = time.Second }

func TestUnknownOutcomeIsFoundOutByRetry(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		effect   wire.Effect
		replayed bool // the retry finds out that it had happened
	}{
		"every acknowledgement is lost": {wire.LoseReply, true},
		"every COMMIT is lost":          {wire.DropBefore, false},
	} {
		for _, c := range operationCases {
			t.Run(name+", "+c.name, func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				a := newTrial(t, b.healthy, c)
				impatient := newLoneWorker(t, b.proxy.URL(), hasty)
				fault := b.proxy.On(committers(wire.Commit()).Every(), test.effect)
				if _, err := a.request.send(t.Context(), impatient, a.caller()); !errors.Is(err,
					ErrOutcomeUnknown) {
					t.Fatalf("came to %v, want %v", err, ErrOutcomeUnknown)
				}
				// The last COMMIT may still be on its way.
				b.proxy.Cut()
				fault.Off()
				b.proxy.WaitBackendsGone(t)
				retry := a.caller()
				reply, err := a.request.send(t.Context(), impatient, retry)
				want := c.comesTo
				if test.replayed {
					want = again(want)
				}
				if got := result(reply, err, retry); got != want {
					t.Errorf("the retry came to %s; want %s", got, want)
				}
				a.wantReplayOf(reply)
			})
		}
	}
}

func TestAnUnreachableDatabaseIsUnavailableAndNotUnknown(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	impatient := newLoneWorker(t, b.proxy.URL(), hasty)
	b.proxy.Refuse()
	a := newTrial(t, b.healthy, chargeCase)
	caller := a.caller()
	if _, err := a.request.send(t.Context(), impatient, caller); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("charging: %v, want %v", err, ErrUnavailable)
	}
	b.proxy.Heal()
	reply, err := a.request.send(t.Context(), impatient, caller)
	a.wantDone(caller, reply, err)
}

func TestASilentDatabaseIsGivenUpInTime(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	impatient := newLoneWorker(t, b.proxy.URL(), hasty)
	charge(t, impatient, b.merchant, "warm",
		Charge{Amount: usd(1), SourceAccount: "b", DestinationAccount: "a"})
	b.proxy.BlackHole()
	start := time.Now()
	_, err := impatient.Charge(t.Context(), callerWith(b.merchant, "k"), sevenCents)
	if waited := time.Since(start); err == nil || waited > 5*time.Second {
		t.Errorf("charging: %v after %v; want an error within seconds", err, waited)
	}
	b.proxy.Heal()
	b.proxy.Cut()
	b.proxy.WaitBackendsGone(t)
	charge(t, impatient, b.merchant, "k", sevenCents)
	if got := balanceOf(t, b.healthy, b.merchant, "b"); got != 7 {
		t.Errorf("b got %d, want 7", got)
	}
}

// One connection goes silent without an error. The engine does not spend the whole time
// limit, ten seconds here, on it. It runs the transaction again on another connection.
func TestASilentConnectionIsGivenUpWhileThereIsTimeToFindOut(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		match  wire.Match
		effect wire.Effect
	}{
		"with the answer to a COMMIT that took effect": {wire.Commit(), wire.HoldAfter},
		"with the answer to the first claims": {
			wire.Statement("SELECT clock_timestamp()"), wire.HoldAfter,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			a := newTrial(t, b.healthy, chargeCase)
			start := time.Now()
			silent := b.strike(a, test.match, test.effect)
			if waited := time.Since(start); waited > 9*time.Second {
				t.Errorf("a silent connection was waited for, for %v", waited)
			}
			silent.Cut() // or the end of the test would wait for it too
		})
	}
}

// The context of the request does not govern COMMIT.
func TestAnOperationWhoseCallerLeavesDuringCommitIsDoneOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, c := range operationCases {
		a := newTrial(t, b.healthy, c)
		held := b.proxy.On(committers(wire.Commit()), wire.HoldBefore)
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := a.request.send(ctx, b.faulty, a.caller())
			left <- err
		}()
		held.Wait(t)
		leave()
		if err := <-left; !errors.Is(err, ErrOutcomeUnknown) {
			t.Errorf("%s: the caller who left got %v, want %v", c.name, err, ErrOutcomeUnknown)
		}
		held.Release()
		retry := a.caller()
		reply, err := a.request.send(t.Context(), b.healthy, retry)
		if got, want := result(reply, err, retry), again(c.comesTo); got != want {
			t.Fatalf("%s: the retry got %s, want %s, of what went on", c.name, got, want)
		}
		a.wantReplayOf(reply)
	}
}

// The connection is half-open between the two round trips, with every lock held.
func TestSilentInstanceBlocksOthersForSecondsOnly(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	held := b.proxy.On(committers(wire.Statement("SELECT clock_timestamp()")), wire.HoldAfter)
	silent := make(chan struct{})
	go func() {
		defer close(silent)
		charge(t, b.faulty, b.merchant, "k", sevenCents)
	}()
	held.Wait(t)
	start := time.Now()
	charge(t, b.healthy, b.merchant, "other", aToB(1))
	charge(t, b.healthy, b.merchant, "k", sevenCents)
	if waited := time.Since(start); waited > 5*time.Second {
		t.Errorf("a silent instance blocked its account and its key for %v", waited)
	}
	held.Cut()
	<-silent
	if got := balanceOf(t, b.healthy, b.merchant, "b"); got != 8 {
		t.Errorf("b got %d, want 8", got)
	}
}

// The database refuses one charge for its data. The other charges of the batch succeed.
func TestAPoisonousChargeFailsAlone(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db.URL)
	merchant := newMerchant(t, s, map[string]int64{"a": 1000, "b": 0})
	if _, err := db.Pool.Exec(t.Context(),
		`ALTER TABLE payments ADD CONSTRAINT poison CHECK (description <> 'poison')`); err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	for i := range 40 {
		callers.Go(func() {
			c := aToB(1)
			if i%20 == 7 {
				c.Description = "poison"
			}
			_, err := s.Charge(t.Context(), callerWith(merchant, fmt.Sprint("k", i)), c)
			switch poisonous := c.Description == "poison"; {
			case !poisonous && err != nil:
				t.Errorf("charge %d failed with the poisonous one: %v", i, err)
			case poisonous && !isConstraint(err, "poison"):
				t.Errorf("the poisonous charge got %v, want the database's own refusal", err)
			}
		})
	}
	callers.Wait()
	if got := balanceOf(t, s, merchant, "b"); got != 38 {
		t.Errorf("b got %d, want 38", got)
	}
}

// isConstraint tells whether the database refused something for the constraint of that
// name.
func isConstraint(err error, name string) bool {
	var reported *pgconn.PgError
	return errors.As(err, &reported) && reported.ConstraintName == name
}
