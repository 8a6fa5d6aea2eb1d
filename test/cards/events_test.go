package cards

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// event is one that the processor has sent.
type event struct {
	header http.Header
	body   []byte
}

// catchEvents takes the processor's events, so that the test can pass them on.
func (b *bench) catchEvents() <-chan event {
	b.Helper()
	caught := make(chan event, 1000)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			caught <- event{r.Header.Clone(), body}
		}
	}))
	b.Cleanup(server.Close)
	b.must(b.processor.SetWebhookURL(b.Context(), server.URL))
	return caught
}

// pass sends the event to an instance, and returns the status; 0: there is no answer.
func (b *bench) pass(e event, i int) int {
	b.Helper()
	r, err := http.NewRequestWithContext(context.WithoutCancel(b.Context()), http.MethodPost,
		b.instance(i).URL()+"/processor-events/stripe", bytes.NewReader(e.body))
	b.must(err)
	r.Header = e.header.Clone()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	return response.StatusCode
}

// holdConfirm lets each confirmation be executed, and keeps its answer for ever.
func (b *bench) holdConfirm() {
	b.proxy.on(func(x *exchange) func(*exchange) {
		if x.step != simulator.StepConfirm {
			return nil
		}
		return func(x *exchange) {
			_ = x.forward(context.WithoutCancel(x.r.Context()), func() {})
			<-x.r.Context().Done()
		}
	})
}

// final is the first event about a final state.
func final(events <-chan event) event {
	for e := range events {
		if bytes.Contains(e.body, []byte(`"payment_intent.succeeded"`)) {
			return e
		}
	}
	panic("the channel is never closed")
}

// The events come before the API's own answer, each a hundred times at once, at two
// instances, and the last one first.
func TestEventsThatComeOftenAndOutOfOrderSettleOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, nil)
	caught := b.catchEvents()
	b.holdConfirm()
	charged := started(func() journal.Answer { return b.charge(0, "k", "pm_card_visa") })
	last := final(caught)
	b.proxy.on(nil)
	events := []event{last}
	for len(caught) > 0 { // the older ones, if they were slower
		events = append(events, <-caught)
	}
	for _, e := range events {
		var passing sync.WaitGroup
		for i := range 100 {
			passing.Go(func() {
				if status := b.pass(e, i%2); status != http.StatusOK {
					t.Errorf("an event is answered %d", status)
				}
			})
		}
		passing.Wait()
	}
	if answer := <-charged; answer.Status != http.StatusCreated {
		t.Errorf("the charge is answered %v", answer)
	}
	b.awaitSettled(settledTime)
	b.wantEffect(1)
	b.judgeBooks()
}

// The event's id is claimed in the transaction of its effect. The instance is killed
// between the two, and then once more when both are committed.
func TestInstanceKilledWithinAnEventLeavesItWhole(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, nil)
	caught := b.catchEvents()
	b.holdConfirm()
	lost := started(func() journal.Answer { return b.charge(0, "k", "pm_card_visa") })
	e := final(caught)

	lock, err := b.db.Pool.Begin(b.Context())
	b.must(err)
	defer func() { _ = lock.Rollback(context.Background()) }()
	_, err = lock.Exec(b.Context(), `SELECT FROM processor_attempts FOR UPDATE`)
	b.must(err)
	passed := make(chan int, 1)
	go func() { passed <- b.pass(e, 0) }()
	await.Until(t, patience, "the settlement waits for the attempt, with the key claimed",
		func() bool {
			return b.number(`
				SELECT count(*) FROM pg_stat_activity
				WHERE datname = current_database() AND application_name = 'paymentsvc-money'
					AND wait_event_type = 'Lock'`) == 1
		})
	b.instance(0).Kill()
	b.must(lock.Rollback(b.Context()))
	if status := <-passed; status != 0 {
		t.Errorf("the killed instance has answered %d", status)
	}
	<-lost
	await.Until(t, patience, "the killed instance's transaction has ended", func() bool {
		return b.number(`
			SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'paymentsvc-money'`) == 0
	})
	b.wantEffect(0)

	b.proxy.on(func(x *exchange) func(*exchange) { // only events can settle it
		return func(x *exchange) { x.answer(nil) }
	})
	b.restart(b.instance(0))
	b.instance(0).AwaitReady(patience)
	if status := b.pass(e, 0); status != http.StatusOK {
		t.Errorf("the event, sent again, is answered %d", status)
	}
	b.wantEffect(1)
	b.instance(0).Kill()
	b.restart(b.instance(0))
	b.instance(0).AwaitReady(patience)
	if status := b.pass(e, 0); status != http.StatusOK {
		t.Errorf("the event, sent once more, is answered %d", status)
	}
	b.wantEffect(1)
	b.proxy.on(nil)
	if answer := b.charge(0, "k", "pm_card_visa"); answer.Status != http.StatusCreated {
		t.Errorf("the retry is answered %v", answer)
	}
	b.judgeBooks()
}

// wantEffect fails the test unless n events are claimed, and as many attempts settled.
func (b *bench) wantEffect(n int) {
	b.Helper()
	claimed := b.number(`SELECT count(*) FROM idempotency_keys WHERE scope = 'processor:stripe'`)
	settled := b.number(`SELECT count(*) FROM processor_attempts WHERE state = 'settled'`)
	if claimed != n || settled != n {
		b.Errorf("%d events are claimed and %d attempts settled, want %d", claimed, settled, n)
	}
}
