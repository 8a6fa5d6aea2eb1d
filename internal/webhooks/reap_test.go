package webhooks_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/webhooks"
	"github.com/paymentsvc/paymentsvc/lab/await"
)

// A delivery stays as long as its event. Attempts, and what is left of a deleted
// endpoint, do not.
func TestReapDeletesWhatIsOldOrOfNoEndpoint(t *testing.T) {
	b := newBench(t)
	to := newReceiver(t, nil)
	s := b.service()
	b.put(s, "kept", webhooks.Terms{URL: to.URL})
	b.put(s, "deleted", webhooks.Terms{URL: to.URL})
	stop := b.run(s)
	b.insert(4, "payment.succeeded")
	await.Until(t, patience, "all are marked", func() bool {
		return b.count(`SELECT count(*) FROM webhook_attempts`) == 8
	})
	stop()
	want := func(deliveries, attempts int) {
		t.Helper()
		for {
			n, err := s.Reap(t.Context(), time.Hour, 3)
			if err != nil {
				t.Fatal(err)
			}
			if n < 3 {
				break
			}
		}
		gotDeliveries := b.count(`SELECT count(*) FROM webhook_deliveries`)
		gotAttempts := b.count(`SELECT count(*) FROM webhook_attempts`)
		if gotDeliveries != deliveries || gotAttempts != attempts {
			t.Errorf("%d deliveries and %d attempts are left, want %d and %d", gotDeliveries,
				gotAttempts, deliveries, attempts)
		}
	}
	want(8, 8)
	if err := s.Delete(t.Context(), webhooks.Ref{MerchantID: merchantID, ID: "deleted"},
		0); err != nil {
		t.Fatal(err)
	}
	want(4, 4)
	b.execute(`UPDATE webhook_deliveries SET begun_at = begun_at - interval '2 hours';
		UPDATE webhook_attempts SET at = at - interval '2 hours'`)
	want(4, 0)
	b.wantNoneLost()
	b.execute(`DELETE FROM events WHERE (transaction_id, id) IN (
		SELECT transaction_id, id FROM events ORDER BY transaction_id, id LIMIT 1)`)
	want(3, 0)
}

// A receiver that does not answer in time is late in the metrics; one that was asked to
// wait is not.
func TestWatchMeasuresTheMostOverdueDelivery(t *testing.T) {
	b := newBench(t)
	s := b.service()
	b.put(s, "shop", webhooks.Terms{URL: "http://127.0.0.1:1"})
	late := func() time.Duration {
		t.Helper()
		if err := s.Watch(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s.Stats().OldestDue
	}
	if got := late(); got != 0 {
		t.Errorf("nothing is %v late", got)
	}
	b.insert(1, "payment.succeeded")
	b.awaitSettled()
	if _, err := s.FanOutOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.execute(
		`UPDATE webhook_deliveries SET next_attempt_at = clock_timestamp() - interval '1 min'`,
	)
	if got := late(); got < time.Minute || got > 2*time.Minute {
		t.Errorf("it is %v late", got)
	}
	b.execute(
		`UPDATE webhook_deliveries SET next_attempt_at = clock_timestamp() + interval '1 min'`,
	)
	if got := late(); got != 0 {
		t.Errorf("a delivery that waits is %v late", got)
	}
}

// The instance ends while a receiver is slow: what was sent is marked, and what was not
// sent is free for another instance at once.
func TestEndingInstanceFreesWhatItDidNotSend(t *testing.T) {
	b := newBench(t)
	to := newReceiver(t, nil)
	hangs := newReceiver(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	s := b.service(func(c *webhooks.Config) {
		c.Schedule.Timeout, c.Schedule.Lease = 15*time.Second, time.Hour
	})
	b.put(s, "hangs", webhooks.Terms{URL: hangs.URL})
	stop := b.run(s)
	ids := b.insert(10, "payment.succeeded")
	await.Until(t, patience, "four are under way", func() bool { return len(hangs.got()) == 4 })
	stop()
	b.put(s, "hangs", webhooks.Terms{URL: to.URL})
	b.run(b.service())
	to.await(t, ids)
}
