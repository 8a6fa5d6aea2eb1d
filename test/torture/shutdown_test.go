package torture

import (
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/paymentsvc/paymentsvc/test/service"
)

// Row 26. A request is accepted once the service has asked for its body: that is what "100 Continue" says.
func TestEveryAcceptedRequestIsAnsweredBeforeTheEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	const rounds, requests = 3, 100
	for round := range rounds {
		in := b.instance(0)
		release := b.hold(`SELECT FROM accounts WHERE merchant_id = $1 AND id = $2 FOR UPDATE`, b.merchant.ID, service.World)
		var accepted atomic.Int64
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { accepted.Add(1) }})
		var answers []<-chan service.Answer
		for i := range requests {
			answers = append(answers, started(func() service.Answer {
				return b.merchant.ChargeExpecting(ctx, in.URL(), key(round*requests+i), service.NewCharge(100))
			}))
		}
		service.Await(t, readyAgainTime, "every request is accepted", func() bool { return accepted.Load() == requests })
		in.Signal(syscall.SIGTERM)
		service.Await(t, notReadyTime, "the instance has heard that it is to end", func() bool {
			return in.Stderr.Count("shutting down") == 1
		})
		release()
		for i, answer := range answers {
			if answer := <-answer; answer.Status != http.StatusCreated {
				t.Errorf("accepted request %d of %d was answered %v", i, requests, answer)
			}
		}
		if code := in.ExitCode(); code != 0 {
			t.Errorf("the exit code is %d", code)
		}
		b.fleet.Restart(0).AwaitReady(readyAgainTime)
	}
}

// Row 26, its first words: readiness goes off before anything else does, so that whoever sends requests here, and asks
// /readyz before, can send them elsewhere. One who finds the connection refused has already failed a caller.
func TestEndingInstanceSaysSoBeforeItRefusesConnections(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	in := b.instance(0)
	in.Signal(syscall.SIGTERM)
	var seen int
	service.Await(t, notReadyTime, "/readyz answers otherwise than before", func() bool {
		seen = in.Readiness()
		return seen != http.StatusOK
	})
	if seen != http.StatusServiceUnavailable {
		t.Errorf("after SIGTERM, /readyz goes from 200 to %d (0: nobody answers), want 503 first", seen)
	}
	if code := in.ExitCode(); code != 0 {
		t.Errorf("the exit code is %d", code)
	}
}

// Row 26, as it happens at every deploy.
func TestRollingRestartUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2)
	b.judged(func(journal *service.Journal) {
		for victim := range 2 {
			in := b.instance(victim)
			journal.Strike(t, "SIGTERM to an instance", in.URL(), func() { in.Signal(syscall.SIGTERM) })
			if code := in.ExitCode(); code != 0 {
				t.Errorf("the exit code is %d", code)
			}
			b.fleet.Restart(victim).AwaitReady(readyAgainTime)
			journal.AwaitCharges(t, clients)
		}
	})
}
