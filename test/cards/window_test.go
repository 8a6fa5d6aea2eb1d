package cards

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/service"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// An instance dies within a call, and the processor forgets the key before another
// instance takes over. What the processor has done is found. What it has not done is
// done once, if it is an intent. A refund is left to a person.
func TestKeyThatTheProcessorForgotMovesNoMoneyTwice(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		spot
		review bool
	}{
		{spot{simulator.StepCreate, after}, false},
		{spot{simulator.StepConfirm, after}, false},
		{spot{simulator.StepRefund, before}, true},
		{spot{simulator.StepRefund, after}, false},
	} {
		t.Run(fmt.Sprintf("%s, %s", row.step, row.moment), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 2, []string{"--key-window=1s"}, "PROCESSOR_RESEND_WINDOW=1s")
			send := func(i int) journal.Answer { return b.charge(i, "k", "pm_card_visa") }
			if row.step == simulator.StepRefund {
				path := "/payments/" + send(0).PaymentID() + "/refunds"
				send = func(i int) journal.Answer {
					return b.merchant.Do(b.Context(), http.MethodPost,
						b.instance(i).URL()+path, "refund", []byte(`{"amount": 40}`))
				}
			}
			lost := started(func() journal.Answer { return send(0) })
			b.killAt([]spot{row.spot})
			b.proxy.on(nil)
			<-lost
			if row.review {
				b.resolveReview("--not-refunded")
			}
			await.Until(t, patience, "the retry has an answer", func() bool {
				return send(1).Final()
			})
			b.awaitSettled(settledTime)
			b.judgeBooks()
		})
	}
}

// resolveReview waits until the one open attempt waits for a person, who decides.
func (b *bench) resolveReview(decision string) {
	b.Helper()
	await.Until(b, patience, "an attempt waits for a person", func() bool {
		return b.number(`SELECT count(*) FROM processor_attempts WHERE state = 'review'`) == 1
	})
	var id string
	b.must(b.db.Pool.QueryRow(b.Context(),
		`SELECT id::text FROM processor_attempts WHERE state = 'review'`).Scan(&id))
	child := service.Launch(b, append([]string{
		"DATABASE_URL=" + b.db.URL, "STRIPE_URL=" + b.processor.URL(),
	}, b.settings...), "attempts", "resolve", id, decision)
	if code := child.ExitCode(); code != 0 {
		b.Errorf("resolve ends with %d: %s", code, child.Stderr.String())
	}
}

// The processor answers with what no program expects. Each charge ends as one payment,
// and the instance goes on, with little memory.
func TestFaultyAnswersHarmNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, nil)
	var sending sync.WaitGroup
	for _, method := range []string{
		"pm_sim_409", "pm_sim_429", "pm_sim_garbage", "pm_sim_10mb", "pm_sim_slow_drip",
		"pm_sim_500_before_charge", "pm_sim_500_after_charge", "pm_sim_reset_before_charge",
		"pm_sim_reset_after_charge", "pm_sim_timeout_then_success",
		"pm_sim_timeout_then_decline",
	} {
		for i := range 5 {
			sending.Go(func() {
				key := method + strconv.Itoa(i)
				await.Until(t, settledTime, key+" has an answer", func() bool {
					return b.charge(0, key, method).Final()
				})
			})
		}
	}
	sending.Wait()
	b.awaitSettled(settledTime)
	b.healthy(b.instance(0))
	if peak := b.peakMemory(b.instance(0)); peak > 200<<20 {
		t.Errorf("the instance took %d MiB", peak>>20)
	}
	b.judgeBooks()
}

// peakMemory is the most that the process has had, in bytes; 0 if the system does not
// tell.
func (b *bench) peakMemory(m *member) int {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.PID()))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kilobytes, err := strconv.Atoi(strings.Fields(rest)[0])
	b.must(err)
	return kilobytes << 10
}
