package torture

import (
	"fmt"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
)

// A request is accepted once the service has asked for its body: that is what "100
// Continue" says. Fifty times, because what goes wrong at the end of a process goes
// wrong once in a while.
func TestEveryAcceptedRequestIsAnsweredBeforeTheEnd(t *testing.T) {
	t.Parallel()
	const lanes, rounds, requests = 2, 25, 100
	// How long /readyz says no before the doors close is of no matter here: nobody
	// asks.
	b := newBench(t, lanes, "SHUTDOWN_DELAY=10ms")
	t.Run("lanes", func(t *testing.T) {
		for lane := range lanes {
			t.Run(fmt.Sprint(lane), func(t *testing.T) {
				t.Parallel()
				b := b.in(t)
				account := journal.Shops[lane] // one that the other lane does not hold
				for round := range rounds {
					b.terminateAmid(lane, account, fmt.Sprintf("lane %d, round %d", lane, round),
						requests)
				}
			})
		}
	})
	if n := b.number(`SELECT count(*) FROM payments WHERE merchant_id = $1`,
		b.merchant.ID); n != lanes*rounds*requests {
		t.Errorf("%d requests were accepted, and there are %d payments", lanes*rounds*requests, n)
	}
}

// in is the same bench in a subtest.
func (b *bench) in(t *testing.T) *bench {
	same := *b
	same.T = t
	return &same
}

// terminateAmid sends requests to an instance, and SIGTERM when all have been accepted
// and none can be answered, because the account that they pay is held. Then it lets go,
// judges, and puts another instance in the place of the one that has ended.
func (b *bench) terminateAmid(instance int, account, name string, requests int) {
	b.Helper()
	in := b.instance(instance)
	release := b.hold(`SELECT FROM accounts WHERE merchant_id = $1 AND id = $2 FOR UPDATE`,
		b.merchant.ID, account)
	charge := journal.NewCharge(100)
	charge.Destination = account
	var accepted atomic.Int64
	ctx := httptrace.WithClientTrace(b.Context(), &httptrace.ClientTrace{Got100Continue: func() {
		accepted.Add(1)
	}})
	var answers []<-chan journal.Answer
	for i := range requests {
		answers = append(answers, started(func() journal.Answer {
			return b.merchant.ChargeExpecting(ctx, in.URL(), fmt.Sprint(name, ", request ", i),
				charge)
		}))
	}
	await.Until(b, readyAgainTime, "every request is accepted", func() bool {
		return accepted.Load() == int64(requests)
	})
	in.Signal(syscall.SIGTERM)
	await.Until(b, notReadyTime, "the instance has heard that it is to end", func() bool {
		return in.Stderr.Count("shutting down") == 1
	})
	release()
	for i, answer := range answers {
		if answer := <-answer; answer.Status != http.StatusCreated {
			b.Errorf("%s: accepted request %d of %d was answered %v", name, i, requests, answer)
		}
	}
	if code := in.ExitCode(); code != 0 {
		b.Errorf("%s: the exit code is %d", name, code)
	}
	b.fleet.Restart(instance).AwaitReady(readyAgainTime)
}

// Readiness goes off first, so a load balancer that asks /readyz can send requests
// elsewhere. A refused connection would already have failed a caller.
func TestEndingInstanceSaysSoBeforeItRefusesConnections(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	in := b.instance(0)
	in.Signal(syscall.SIGTERM)
	var seen int
	await.Until(t, notReadyTime, "/readyz answers otherwise than before", func() bool {
		seen = in.Readiness()
		return seen != http.StatusOK
	})
	if seen != http.StatusServiceUnavailable {
		t.Errorf("after SIGTERM, /readyz goes from 200 to %d (0: nobody answers), want 503 first",
			seen)
	}
	if code := in.ExitCode(); code != 0 {
		t.Errorf("the exit code is %d", code)
	}
}

// This happens at every deploy.
func TestRollingRestartUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2)
	b.judged(func(journal *journal.Journal) {
		for victim := range 2 {
			in := b.instance(victim)
			journal.Strike(t, "SIGTERM to an instance", in.URL(), func() {
				in.Signal(syscall.SIGTERM)
			})
			if code := in.ExitCode(); code != 0 {
				t.Errorf("the exit code is %d", code)
			}
			b.fleet.Restart(victim).AwaitReady(readyAgainTime)
			journal.AwaitAnswers(t, clients)
		}
	})
}
