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
// Continue" says. A process that ends before its last answers have left shows it in
// about half of the rounds.
func TestEveryAcceptedRequestIsAnsweredBeforeTheEnd(t *testing.T) {
	t.Parallel()
	const rounds, requests = 10, 100
	// The time between "not ready" and the end of connections does not matter here.
	b := newBench(t, 1, "SHUTDOWN_DELAY=10ms")
	for round := range rounds {
		b.terminateAmid(fmt.Sprint("round ", round), requests)
	}
	if n := b.number(`SELECT count(*) FROM payments WHERE merchant_id = $1`,
		b.merchant.ID); n != rounds*requests {
		t.Errorf("%d requests were accepted, and there are %d payments", rounds*requests, n)
	}
}

// terminateAmid sends requests, and SIGTERM when all have been accepted and none can be
// answered, because their account is held. Then it lets go, checks the answers, and
// starts the instance again.
func (b *bench) terminateAmid(name string, requests int) {
	b.Helper()
	in := b.instance(0)
	release := b.holdCharges(journal.World)
	var accepted atomic.Int64
	ctx := httptrace.WithClientTrace(b.Context(), &httptrace.ClientTrace{Got100Continue: func() {
		accepted.Add(1)
	}})
	var answers []<-chan journal.Answer
	for i := range requests {
		answers = append(answers, started(func() journal.Answer {
			return b.merchant.ChargeExpecting(ctx, in.URL(), fmt.Sprint(name, " request ", i),
				journal.NewCharge(100))
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
	b.fleet.Restart(0).AwaitReady(readyAgainTime)
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
