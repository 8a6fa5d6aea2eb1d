package webhooks_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/webhooks"
	"github.com/paymentsvc/paymentsvc/lab/await"
)

// One of twenty receivers hangs. The others have all events within twice the time that
// they need without it. 10,000 events take minutes, so only `make test-long` sends so many.
// The number does not matter while the queue of each endpoint is longer than what is
// leased of it.
func TestHangingReceiverHarmsNobody(t *testing.T) {
	b := newBench(t)
	const receivers = 20
	events, patience := 500, 2*time.Minute
	if os.Getenv("LONG_TESTS") != "" {
		events, patience = 10_000, 15*time.Minute
	}
	to := newReceiver(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/hangs") {
			<-r.Context().Done()
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	s := b.service(func(c *webhooks.Config) {
		c.Schedule.Timeout, c.Schedule.Lease = 15*time.Second, time.Minute
	})
	for i := range receivers {
		b.put(s, fmt.Sprintf("shop-%d", i), webhooks.Terms{URL: fmt.Sprintf("%s/%d", to.URL, i)})
	}
	b.run(s)
	round := func(healthy int) time.Duration {
		before := b.count(`SELECT count(*) FROM webhook_deliveries WHERE status = 'delivered'`)
		began := time.Now()
		b.insert(events, "payment.succeeded")
		await.Until(t, patience, "the healthy ones have all", func() bool {
			return b.count(`SELECT count(*) FROM webhook_deliveries
				WHERE status = 'delivered'`) == before+events*healthy
		})
		return time.Since(began)
	}
	round(receivers) // opens connections
	without := round(receivers)
	b.put(s, "shop-0", webhooks.Terms{URL: to.URL + "/hangs"})
	with := round(receivers - 1)
	t.Logf("%d events to 20 receivers in %v, to 19 while one hangs in %v", events, without, with)
	if with > 2*without {
		t.Errorf("with a receiver that hangs it took %v, without %v", with, without)
	}
}
