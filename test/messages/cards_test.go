package messages

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// A charge by card takes longer than its request waits. The request is put off, comes
// again, and has one outcome.
func TestCardChargeByMessageIsAnsweredLater(t *testing.T) {
	t.Parallel()
	processor, err := simulator.Start(t.Context(), simulator.Options{
		BooksFile: filepath.Join(t.TempDir(), "books"),
		Delays:    simulator.Delays{Hang: 4 * time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = processor.Close() })
	b := newBench(t, 2, "STRIPE_URL="+processor.URL(), "REQUEST_TIMEOUT=1500ms",
		"STRIPE_SECRET_KEY="+simulator.DefaultSecret)
	body, err := json.Marshal(map[string]any{
		"amount": 4999, "currency": journal.Currency, "payment_method": "pm_sim_hang",
		"destination_account": journal.Shops[0],
	})
	b.must(err)
	b.publish(body, "Idempotency-Key", "key")
	outcome := b.awaitAnswers(outcomes, "key", 1)
	b.awaitTaken()
	b.wantOnePayment("key", b.ofKey(outcomes, "key")...)
	if header := outcome[0].Header; header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("the outcome is of the first delivery: %v", header)
	}
	if n := len(b.stored(parked)); n > 0 {
		t.Errorf("%d messages are parked", n)
	}
	consumer, err := b.js.Consumer(t.Context(), requests, consumerName)
	b.must(err)
	if n := consumer.CachedInfo().Delivered.Consumer; n < 2 {
		t.Errorf("it was delivered %d times", n)
	}
	books, err := processor.Books()
	if err != nil || len(books.Intents) != 1 || books.Intents[0].TimesTaken != 1 {
		t.Errorf("the processor has %+v, %v", books, err)
	}
}

// An instance works on few messages at once, and they come from all merchants. So a request
// by message does not wait for the processor, whatever it prefers.
func TestHangingCardChargesByMessageDelayNoOtherRequest(t *testing.T) {
	t.Parallel()
	processor, err := simulator.Start(t.Context(), simulator.Options{
		BooksFile: filepath.Join(t.TempDir(), "books"),
		Delays:    simulator.Delays{Hang: time.Hour},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = processor.Close() })
	b := newBench(t, 1, "STRIPE_URL="+processor.URL(), "PROCESSOR_TIMEOUT=1m",
		"STRIPE_SECRET_KEY="+simulator.DefaultSecret)
	for i := range 200 { // three times as many as an instance works on
		b.publish(journal.NewCardCharge(1, "pm_sim_hang").Body(), "Idempotency-Key",
			fmt.Sprint("hangs-", i), "Prefer", "wait=10")
	}
	b.publish(journal.NewCharge(100).Body(), "Idempotency-Key", "key")
	b.wantOnePayment("key", b.awaitAnswers(outcomes, "key", 1)...)
}
