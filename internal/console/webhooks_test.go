package console_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/paymentsvc/paymentsvc/internal/app"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/inprocess"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// webhooks visits the pages of webhooks.
func (c *tab) webhooks() {
	c.Helper()
	c.follow("Webhooks", "Webhooks")
	c.fill("id", "erp")
	c.fill("url", "https://example.com")
	c.fill("event_types", "payment.failed")
	c.press("Make it")
	c.await("must have only payment.processing")
	c.want(focused, "event_types")
	c.fill("event_types", "payment.succeeded")
	c.press("Make it")
	c.await("Its secret: whsec_")
	c.inspect("a made webhook endpoint")
	c.follow("erp", "Webhook endpoint erp")
	c.inspect("a webhook endpoint")
}

// The page of an endpoint has its attempts, and sends an event again.
func TestAttemptsAreShownAndSentAgain(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := inprocess.Start(t, db.URL, func(c *app.Config) { c.WebhookAllowPrivate = true })
	c := open(t, in.URL(), journal.NewMerchant(t, in, db.URL))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { in.Webhooks.FanOut(ctx) })
	running.Go(func() { in.Webhooks.Deliver(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	ids := make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			ids <- r.Header.Get("webhook-id")
			w.WriteHeader(http.StatusTeapot)
			_, _ = w.Write([]byte(`<script>document.title = "run"</script>`))
		}))
	t.Cleanup(receiver.Close)
	c.follow("Webhooks", "Webhooks")
	c.fill("id", "erp")
	c.fill("url", receiver.URL)
	c.press("Make it")
	c.await("erp is made.")
	c.visit("/console#/charge")
	c.awaitTitle("Charge")
	c.charge("49.99")
	first := <-ids
	await.Until(t, patience, "the page shows the attempt", func() bool {
		c.visit("/console#/webhooks") // the attempt is written down after it was sent
		c.awaitTitle("Webhooks")
		c.visit("/console#/webhooks/erp")
		c.awaitTitle("Webhook endpoint erp")
		return strings.Contains(c.text(), first)
	})
	c.await("418")
	c.await(`<script>document.title = "run"</script>`)
	c.inspect("attempts")
	c.press("Send again")
	c.await("It is on its way.")
	if again := <-ids; again != first {
		t.Errorf("sent again as %s, want %s", again, first)
	}
	c.press("Send a test event")
	c.await("It is on its way: evt_")
	c.inspect("a webhook endpoint that was tested")
}
