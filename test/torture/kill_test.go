package torture

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/service"
	"github.com/paymentsvc/paymentsvc/lab/wire"
)

// clients is how many charge at once while something is killed.
const clients = 12

// slowCommit makes every COMMIT wait between its record in the log and the flush of it,
// so that what ends a process is likely to end it there. A killed server has then lost
// the transaction. One whose backend is told to end has made it durable, and the client
// hears of a fatal error instead.
var slowCommit = map[string]string{"commit_delay": "20000", "commit_siblings": "0"} // microseconds

// awaitCommit waits until some COMMIT is on its way to the disk.
func (b *bench) awaitCommit() {
	b.Helper()
	b.awaitBackend("a COMMIT is under way", underCommit)
}

const underCommit = `state = 'active' AND query = 'COMMIT'`

// judged runs a scenario under load, and then has every key sent again and the journal
// judged.
func (b *bench) judged(scenario func(*journal.Journal)) *journal.Journal {
	b.Helper()
	journal := journal.NewJournal(b.merchant, b.fleet.Pick)
	stop := journal.Load(b, clients)
	journal.AwaitAnswers(b, clients)
	scenario(journal)
	journal.AwaitAnswers(b, clients) // life goes on
	stop()
	b.fleet.AwaitReady()
	journal.Converge(b)
	journal.Judge(b, b.url)
	b.no5xxStored()
	return journal
}

// ranAgain fails the test unless some instance had to run a money transaction again.
// Callers need not have noticed.
func (b *bench) ranAgain() {
	b.Helper()
	n := 0
	for _, in := range b.fleet.Instances() {
		n += in.Stderr.Count("money transaction runs again")
	}
	if n == 0 {
		b.Error("no money transaction was hit, so this test shows nothing")
	}
}

func TestNoAckedChargeIsLostOrDoubledWhenTheServiceIsKilled(t *testing.T) {
	t.Parallel()
	b, _ := newDurableBench(t, 2, slowCommit)
	journal := b.judged(func(journal *journal.Journal) {
		for round := range 4 {
			victim := round % 2
			in := b.instance(victim)
			journal.Strike(t, "kill -9 of an instance", in.URL(), in.Kill)
			b.fleet.Restart(victim).AwaitReady(readyAgainTime)
			journal.AwaitAnswers(t, clients)
		}
	})
	if journal.Hurt() == 0 {
		t.Error("every request to a killed instance was answered, so this test shows nothing")
	}
}

// What was acknowledged is there after a restart of the database.
func TestNoAckedChargeIsLostOrDoubledWhenPostgresIsKilled(t *testing.T) {
	t.Parallel()
	b, cluster := newDurableBench(t, 2, slowCommit)
	b.judged(func(journal *journal.Journal) {
		for _, fault := range []struct {
			name   string
			strike func()
		}{
			// its backends end when they notice
			{"kill -9 of the postmaster", func() { b.must(cluster.Kill()) }},
			{"immediate stop of Postgres", func() { b.must(cluster.StopImmediate(t.Context())) }},
			{"kill -9 of every process of Postgres", func() { b.killEveryProcess(cluster) }},
		} {
			b.awaitCommit()
			journal.Strike(t, fault.name, "", fault.strike)
			for _, in := range b.fleet.Instances() {
				in.AwaitNotReady(notReadyTime)
				if in.Liveness() != 200 {
					t.Error("the service does not live without its database")
				}
			}
			b.must(cluster.Restart(t.Context()))
			b.awaitReadyAgain()
			journal.AwaitAnswers(t, clients)
		}
	})
	b.ranAgain()
}

// Both at once: no process is left that remembers.
func TestNoAckedChargeIsLostOrDoubledWhenPostgresAndTheServiceAreKilled(t *testing.T) {
	t.Parallel()
	b, cluster := newDurableBench(t, 2, slowCommit)
	b.judged(func(journal *journal.Journal) {
		for _, postgresFirst := range []bool{true, false} {
			b.awaitCommit()
			journal.Strike(t, "kill -9 of everything", "", func() {
				if postgresFirst {
					b.killEveryProcess(cluster)
				}
				for _, in := range b.fleet.Instances() {
					in.Kill()
				}
				if !postgresFirst {
					b.killEveryProcess(cluster)
				}
			})
			b.startEverything(cluster)
			journal.AwaitAnswers(t, clients)
		}
	})
}

// killEveryProcess leaves the server no moment to finish anything, as a machine does
// that loses its power. The postmaster is the first to go, or it would see to the
// others' end itself.
func (b *bench) killEveryProcess(cluster *pgtest.Cluster) {
	b.Helper()
	pids := b.serverProcesses(b.asAdmin())
	for _, pid := range append([]int{cluster.PID()}, pids...) {
		if err := syscall.Kill(pid, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
			b.must(err)
		}
	}
	b.must(cluster.Kill()) // which waits
}

// startEverything starts instances and their database at the same moment: an instance
// waits for its database.
func (b *bench) startEverything(cluster *pgtest.Cluster) {
	b.Helper()
	var starting sync.WaitGroup
	defer starting.Wait()
	starting.Go(func() {
		if err := cluster.Restart(b.Context()); err != nil {
			b.Error(err)
		}
	})
	for i := range b.fleet.Instances() {
		b.fleet.Restart(i)
	}
	b.fleet.AwaitReady()
}

// Postgres is killed again each time that it has begun to recover, so it answers 57P03
// or nothing at all.
func TestCrashLoopLosesNoChargeAndStoresNo5xx(t *testing.T) {
	t.Parallel()
	b, cluster := newDurableBench(t, 2, slowCommit)
	b.judged(func(journal *journal.Journal) {
		b.awaitCommit()
		journal.Strike(t, "kill -9 of Postgres", "", func() { b.must(cluster.Kill()) })
		crashes := 0
		const step = 20 * time.Millisecond
		for patience := step; patience < 10*step; patience += step {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			if err := cluster.Restart(ctx); err != nil { // in time, or stopped at once
				crashes++
			}
			cancel()
			b.must(cluster.Kill())
		}
		if crashes == 0 {
			t.Error("every recovery was quicker than its killer")
		}
		b.must(cluster.Restart(t.Context()))
		b.awaitReadyAgain()
	})
	b.ranAgain()
}

// awaitReadyAgain waits for the fleet after its database has come back.
func (b *bench) awaitReadyAgain() {
	b.Helper()
	for _, in := range b.fleet.Instances() {
		in.AwaitReady(readyAgainTime)
	}
}

// The process dies at the statement, and not only its connection: no retry has to wait
// for what it held.
func TestInstanceKilledAtAStatementLeavesNoLockBehind(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	proxy := wire.Start(t, b.url)
	for i, row := range []struct {
		name     string
		at       wire.Match
		hold     wire.Effect
		replayed bool // it had committed
	}{
		{
			"it has claimed the key", wire.Statement("INSERT INTO idempotency_keys"),
			wire.HoldAfter, false,
		},
		{
			"it has locked the accounts", wire.Containing("FOR NO KEY UPDATE ) AS a"),
			wire.HoldAfter, false,
		},
		{
			"it has written the entries", wire.Statement("INSERT INTO entries"), wire.HoldAfter,
			false,
		},
		{"all but its COMMIT has arrived", wire.Commit(), wire.HoldBefore, false},
		{"its COMMIT is done, and not acknowledged", wire.Commit(), wire.HoldAfter, true},
	} {
		victim := service.Start(t, proxy.URL(), service.AllowDataLoss)
		held := proxy.On(row.at.From("paymentsvc-money"), row.hold)
		lost := started(func() journal.Answer {
			return b.merchant.Charge(t.Context(), victim.URL(), key(i), journal.NewCharge(100))
		})
		held.Wait(t)
		victim.Kill()
		held.Cut() // the end of the process is the end of its connections
		if answer := <-lost; answer.Class() != journal.Unknown {
			t.Errorf("%s: the killed instance answered %v", row.name, answer)
		}
		retry := b.charge(0, key(i))
		if retry.Replayed() != row.replayed || retry.Took() > margin {
			t.Errorf("%s: the retry was answered %v; want at once, and a replay: %t", row.name,
				retry, row.replayed)
		}
		b.chargedOnce(key(i), retry, b.charge(0, key(i)))
	}
}
