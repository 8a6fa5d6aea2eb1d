package cards

import (
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// An instance that ends gives its attempts up. The other one need not wait until their
// leases end, which takes half a minute here.
func TestOtherInstanceTakesOverAtOnceWhenOneEnds(t *testing.T) {
	t.Parallel()
	const charges = 20
	b := newBench(t, 2, nil, "PROCESSOR_TIMEOUT=26s")
	ending := b.instance(0)
	out := make(chan struct{}, charges)
	b.proxy.on(func(x *exchange) func(*exchange) {
		if x.member != ending || x.step != simulator.StepConfirm {
			return nil
		}
		return func(x *exchange) {
			// Every second call has had its effect, without an answer.
			if len(out)%2 == 0 {
				x.forward(b.Context(), func() {})
			}
			out <- struct{}{}
			<-x.r.Context().Done()
		}
	})
	var lost []<-chan journal.Answer
	for i := range charges {
		lost = append(lost, started(func() journal.Answer {
			key := fmt.Sprint("key ", i)
			return b.chargeWaiting(t.Context(), b.merchant, key, "pm_card_visa", 2)
		}))
	}
	await.Until(t, patience, "every call is out", func() bool { return len(out) == charges })
	ending.Signal(syscall.SIGTERM)
	for i := range lost {
		if answer := <-lost[i]; answer.Status != http.StatusConflict {
			t.Errorf("a charge that is at the processor is answered %v, want 409", answer)
		}
	}
	if code := ending.ExitCode(); code != 0 {
		t.Errorf("the exit code is %d", code)
	}
	b.awaitSettled(5 * time.Second)
	for i := range charges {
		if answer := b.charge(1, fmt.Sprint("key ", i), "pm_card_visa"); answer.Status != 201 {
			t.Errorf("the retry is answered %v", answer)
		}
	}
	b.judgeBooks()
}
