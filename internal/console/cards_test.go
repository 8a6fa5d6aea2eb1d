package console_test

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/app"
	"github.com/paymentsvc/paymentsvc/internal/cards"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/inprocess"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// newCardTab is newTab with a card processor. The instance's recovery runs, and a request
// waits for a second only.
func newCardTab(t *testing.T, delays simulator.Delays) *tab {
	t.Helper()
	t.Parallel()
	processor, err := simulator.Start(t.Context(), simulator.Options{
		BooksFile: filepath.Join(t.TempDir(), "books"), Delays: delays,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = processor.Close() })
	db := pgtest.New(t)
	in := inprocess.Start(t, db.URL, func(c *app.Config) {
		c.RequestTimeout = 1500 * time.Millisecond // of which two thirds wait for the processor
		c.Processor = cards.Settings{
			SecretKey: simulator.DefaultSecret, URL: processor.URL(),
			Timeout: 5 * time.Second, ResendWindow: 12 * time.Hour,
		}
	})
	recovering := time.NewTicker(100 * time.Millisecond)
	var running sync.WaitGroup
	running.Go(func() {
		defer recovering.Stop()
		for {
			select {
			case <-t.Context().Done():
				return
			case <-recovering.C:
				_ = in.Cards.Recover(t.Context()) // fails at the end of the test
			}
		}
	})
	t.Cleanup(running.Wait)
	c := open(t, in.URL(), journal.NewMerchant(t, in, db.URL))
	c.db, c.processor = db, processor
	return c
}

// choose chooses in a select, as a person does.
func (c *tab) choose(name, value string) {
	c.Helper()
	c.await("Charge")
	if !evaluate[bool](c, `(() => {
		const select = document.querySelector("main select[name=`+name+`]");
		select.value = "`+value+`";
		select.dispatchEvent(new Event("change", { bubbles: true }));
		return select.value === "`+value+`";
	})()`) {
		c.Fatalf("%s is no choice", value)
	}
}

// fillCard fills the form for a charge by card.
func (c *tab) fillCard(method string) {
	c.Helper()
	c.choose("payment_method", method)
	if strings.Contains(c.text(), "From account") {
		c.Error("the form asks for an account that pays, too")
	}
	c.fill("amount", "49.99")
	c.fill("destination_account", journal.Shops[0])
}

func TestProcessingPaymentResolvesBeforeOnesEyes(t *testing.T) {
	c := newCardTab(t, simulator.Delays{Slow: 4 * time.Second})
	c.fillCard("pm_sim_slow")
	c.press("Charge")
	c.await("idempotency_key_in_progress")
	c.await("Once more, with the same key")
	c.visit("/console#/payments/" + c.payments()[0].ID)
	c.await("The card processor is being asked.")
	c.await("Status\nsucceeded") // without a reload
	c.await("Refunded\n0.00 USD")
	c.press("Refund") // the button has come with the status
	c.await("Done: refund ref_")
	if made := c.payments(); len(made) != 1 || made[0].AmountRefunded != 4999 {
		t.Errorf("there are %v", made)
	}
}

// The payment is authorized, and its capture waits for a person.
func TestPaymentInReviewIsMarkedBeforeOnesEyes(t *testing.T) {
	c := newCardTab(t, simulator.Delays{})
	c.fillCard("pm_card_visa")
	c.press("Only hold it, to be captured later")
	c.press("Charge")
	c.await("Done")
	id := c.payments()[0].ID
	c.follow(id, "Payment "+id)
	if err := c.processor.SetFaults(simulator.Faults{Down: true}); err != nil {
		c.Fatal(err)
	}
	c.press("Capture")
	c.await("The card processor is being asked.")
	change := func(change string) {
		c.Helper()
		if _, err := c.db.Pool.Exec(c.Context(), `
			UPDATE processor_attempts SET `+change+` WHERE operation = 'capture'`); err != nil {
			c.Fatal(err)
		}
	}
	change(`created_at = created_at - interval '1 hour'`)
	c.await("The service goes on asking.")
	change(`state = 'review'`)
	c.await("A person has to decide about this payment: its capture is in review.")
	change(`state = 'open', due_at = clock_timestamp()`)
	if err := c.processor.SetFaults(simulator.Faults{}); err != nil {
		c.Fatal(err)
	}
	c.await("Status\nsucceeded")
	await.Until(c, patience, "the page stops saying that it waits", func() bool {
		text := c.text()
		return !strings.Contains(text, "A person has to decide") &&
			!strings.Contains(text, "The card processor")
	})
}

func TestCardIsHeldCapturedAndDeclined(t *testing.T) {
	c := newCardTab(t, simulator.Delays{})
	c.fillCard("pm_card_visa")
	c.press("Only hold it, to be captured later")
	c.press("Charge")
	c.await("Done")
	id := c.payments()[0].ID
	c.follow(id, "Payment "+id)
	c.await("From\npm_card_visa")
	c.fill("amount", "20")
	c.press("Capture")
	c.await("Captured\n20.00 USD")

	c.visit("/console#/charge")
	c.awaitTitle("Charge")
	c.fillCard("pm_card_chargeDeclinedExpiredCard")
	c.press("Charge")
	c.await("The card was declined")
	id = c.payments()[0].ID
	c.follow(id, "Payment "+id)
	c.await("Declined for\nexpired_card")
}
