package webhooks_test

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/internal/webhooks"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// The receiver verifies with the library of Standard Webhooks, over the bytes that the
// feed shows.
func TestEventArrivesSignedAndByteForByte(t *testing.T) {
	b := newBench(t)
	to := newReceiver(t, nil)
	s := b.service()
	secret := b.put(s, "shop", webhooks.Terms{URL: to.URL + "/hook?token=t"})
	b.run(s)
	ids := b.insert(1, "payment.succeeded")
	to.await(t, ids)
	got := to.got()[0]
	if err := got.verify(t, secret); err != nil {
		t.Error(err)
	}
	if !bytes.HasSuffix(got.body, []byte(`"data":`+data+`}`)) {
		t.Errorf("the data is not as it was written: %s", got.body)
	}
	at, err := outbox.ParseEventID(ids[0])
	if err != nil {
		t.Fatal(err)
	}
	feed := outbox.NewFeed(b.pools.General, pgtest.Sharded())
	event, err := feed.Get(t.Context(), merchantID, at)
	if err != nil || !bytes.Equal(event.JSON(), got.body) {
		t.Errorf("the feed has %s, %v; the receiver got %s", event.JSON(), err, got.body)
	}
	if kind := got.header.Get("Content-Type"); kind != "application/json" {
		t.Errorf("the type is %q", kind)
	}
	await.Until(t, patience, "it is marked", func() bool {
		return b.count(`SELECT count(*) FROM webhook_deliveries WHERE status = 'delivered'`) == 1
	})
	attempt := b.attempts(s, "shop")[0]
	if attempt.Event.EventID() != ids[0] || attempt.Number != 1 || *attempt.StatusCode != 204 {
		t.Errorf("the attempt is %+v", attempt)
	}
	if strings.Contains(b.log.String(), "token=t") || strings.Contains(b.log.String(), secret) {
		t.Error("the log has the URL or the secret")
	}
	b.wantNoneLost()
}

// A receiver that was down for a while gets each event once or more, under one id. The
// others do not notice.
func TestReceiverThatWasDownGetsEveryEvent(t *testing.T) {
	b := newBench(t)
	healthy, sick := newReceiver(t, nil), newReceiver(t, status(http.StatusInternalServerError))
	s := b.service()
	b.put(s, "healthy", webhooks.Terms{URL: healthy.URL})
	b.put(s, "sick", webhooks.Terms{URL: sick.URL})
	b.run(s)
	ids := b.insert(30, "payment.succeeded")
	healthy.await(t, ids)
	await.Until(t, patience, "the sick one was tried again", func() bool {
		return b.count(`SELECT count(*) FROM webhook_deliveries WHERE attempts > 1`) > 3
	})
	ids = append(ids, b.insert(5, "payment.declined")...)
	sick.turn(nil)
	sick.await(t, ids)
	healthy.await(t, ids)
	for _, c := range sick.got() {
		if !slices.Contains(ids, c.id) {
			t.Errorf("it got %s, which is no event", c.id)
		}
	}
	if n := len(healthy.got()); n != len(ids) {
		t.Errorf("the healthy one got %d requests for %d events", n, len(ids))
	}
	b.wantNoneLost()
}

// A worker that dies after it has sent marks nothing. When its lease ends, another worker
// sends the event again, under the same id.
func TestDeathBetweenSendAndMarkSendsAgain(t *testing.T) {
	b := newBench(t)
	to := newReceiver(t, nil)
	s := b.service(func(c *webhooks.Config) { c.Schedule.Lease = 2500 * time.Millisecond })
	b.put(s, "shop", webhooks.Terms{URL: to.URL})
	// The mark waits for this lock, and the worker dies while it does.
	var locked atomic.Bool
	blocker, err := b.db.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer blocker.Rollback(t.Context())
	to.turn(func(w http.ResponseWriter, _ *http.Request) {
		if locked.CompareAndSwap(false, true) {
			if _, err := blocker.Exec(t.Context(),
				`SELECT FROM webhook_deliveries FOR UPDATE`); err != nil {
				t.Error(err)
			}
		}
		w.WriteHeader(http.StatusOK)
	})
	stop := b.run(s)
	ids := b.insert(1, "payment.succeeded")
	to.await(t, ids)
	await.Until(t, patience, "the mark has failed", func() bool {
		return strings.Contains(b.log.String(), "not all are marked")
	})
	stop()
	if n := b.count(`SELECT count(*) FROM webhook_deliveries WHERE status = 'pending'`); n != 1 {
		t.Fatalf("%d deliveries are pending, want the one that was sent", n)
	}
	if err := blocker.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.run(b.service())
	await.Until(t, patience, "it is sent again", func() bool { return len(to.got()) >= 2 })
	for _, c := range to.got() {
		if c.id != ids[0] {
			t.Errorf("sent as %s, want %s", c.id, ids[0])
		}
	}
}

// A worker whose lease is no longer the last one marks nothing: here the event was sent
// again by hand meanwhile, and that send is still under way.
func TestMarkOfAnOldLeaseIsFenced(t *testing.T) {
	b := newBench(t)
	release := []chan int{make(chan int), make(chan int)}
	var calls atomic.Int64
	to := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(<-release[calls.Add(1)-1])
	})
	s := b.service(func(c *webhooks.Config) {
		c.Schedule.Timeout, c.Schedule.Lease = 15*time.Second, time.Minute
	})
	b.put(s, "shop", webhooks.Terms{URL: to.URL})
	b.run(s)
	ids := b.insert(1, "payment.succeeded")
	to.await(t, ids)
	at, err := outbox.ParseEventID(ids[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Redeliver(t.Context(), merchantID, at, nil); err != nil {
		t.Fatal(err)
	}
	await.Until(t, patience, "it is sent again", func() bool { return len(to.got()) == 2 })
	release[0] <- http.StatusInternalServerError
	await.Until(t, patience, "the first try is written down", func() bool {
		return len(b.attempts(s, "shop")) == 1
	})
	if n := b.count(`SELECT count(*) FROM webhook_deliveries WHERE lease IS NOT NULL`); n != 1 {
		t.Error("the first worker has ended the lease of the second")
	}
	release[1] <- http.StatusOK
	await.Until(t, patience, "it is delivered", func() bool {
		return b.count(`SELECT count(*) FROM webhook_deliveries WHERE status = 'delivered'`) == 1
	})
	if n := len(to.got()); n != 2 {
		t.Errorf("it was sent %d times", n)
	}
}

func TestAnswer410DisablesTheEndpoint(t *testing.T) {
	b := newBench(t)
	to := newReceiver(t, status(http.StatusGone))
	s := b.service()
	b.put(s, "shop", webhooks.Terms{URL: to.URL})
	b.run(s)
	to.await(t, b.insert(1, "payment.succeeded"))
	await.Until(t, patience, "it is disabled", func() bool {
		return b.get(s, "shop").Status == webhooks.Disabled
	})
	if got := b.get(s, "shop"); got.DisabledReason != "gone" || got.Version != 2 {
		t.Errorf("it is %+v", got)
	}
	sent := len(to.got())
	missed := b.insert(1, "payment.succeeded")
	b.awaitSettled()
	await.Until(t, patience, "the cursor passes the event", func() bool {
		return b.count(`SELECT count(*) FROM events e JOIN feed_cursors c USING (merchant_id)
			WHERE (e.transaction_id, e.id) > (c.transaction_id, c.event_id)`) == 0
	})
	to.turn(nil)
	b.put(s, "shop", webhooks.Terms{URL: to.URL, Status: new(webhooks.Enabled)})
	to.await(t, b.insert(1, "payment.succeeded"))
	if to.has(missed) || len(to.got()) != sent+1 {
		t.Error("an event of the time while it was disabled was sent")
	}
	b.wantNoneLost()
}

func TestRetryAfterIsHonoured(t *testing.T) {
	b := newBench(t)
	to := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1800")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	s := b.service(func(c *webhooks.Config) { c.Schedule.Longest = time.Hour })
	b.put(s, "shop", webhooks.Terms{URL: to.URL})
	b.run(s)
	to.await(t, b.insert(1, "payment.succeeded"))
	await.Until(t, patience, "the next try waits half an hour", func() bool {
		return b.count(`SELECT count(*) FROM webhook_deliveries WHERE lease IS NULL
			AND next_attempt_at - clock_timestamp() BETWEEN '29 min' AND '31 min'`) == 1
	})
}

func TestDeliveryFailsWhenItsTimeIsUp(t *testing.T) {
	b := newBench(t)
	to := newReceiver(t, status(http.StatusBadGateway))
	s := b.service(func(c *webhooks.Config) { c.Schedule.GiveUp = 300 * time.Millisecond })
	b.put(s, "shop", webhooks.Terms{URL: to.URL})
	b.run(s)
	ids := b.insert(1, "payment.succeeded")
	await.Until(t, patience, "it has failed", func() bool {
		return b.count(`SELECT count(*) FROM webhook_deliveries WHERE status = 'failed'`) == 1
	})
	await.Until(t, patience, "it is counted", func() bool {
		got := s.Stats()
		return got.GivenUp == 1 && got.Retried > 0 && got.Delivered == 0
	})
	// Redelivery by hand begins anew.
	to.turn(nil)
	before := len(to.got())
	at, err := outbox.ParseEventID(ids[0])
	if err != nil {
		t.Fatal(err)
	}
	queued, err := s.Redeliver(t.Context(), merchantID, at, nil)
	if err != nil || !slices.Equal(queued, []string{"shop"}) {
		t.Fatalf("redelivered to %v, %v", queued, err)
	}
	await.Until(t, patience, "it is delivered", func() bool {
		return b.count(`SELECT count(*) FROM webhook_deliveries WHERE status = 'delivered'`) == 1
	})
	if len(to.got()) != before+1 {
		t.Errorf("sent %d times, want once", len(to.got())-before)
	}
}

// Both secrets sign until the previous one ends, by the database's clock.
func TestBothSecretsSignDuringRotation(t *testing.T) {
	b := newBench(t)
	to := newReceiver(t, nil)
	s := b.service()
	old := b.put(s, "shop", webhooks.Terms{URL: to.URL})
	b.run(s)
	rotated, err := s.Rotate(t.Context(), webhooks.Ref{MerchantID: merchantID, ID: "shop"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	to.await(t, b.insert(1, "payment.succeeded"))
	for _, secret := range []string{old, rotated.Text} {
		if err := to.got()[0].verify(t, secret); err != nil {
			t.Error(err)
		}
	}
	b.execute(`UPDATE webhook_endpoints SET previous_valid_until = clock_timestamp()`)
	to.await(t, b.insert(1, "payment.succeeded"))
	last := to.got()[1]
	if err := last.verify(t, rotated.Text); err != nil {
		t.Error(err)
	}
	if err := last.verify(t, old); err == nil {
		t.Error("a secret that has ended still signs")
	}
}

// The retention has deleted the event before it could be delivered.
func TestDeliveryOfADeletedEventFails(t *testing.T) {
	b := newBench(t)
	to := newReceiver(t, nil)
	s := b.service()
	b.put(s, "shop", webhooks.Terms{URL: to.URL})
	b.insert(1, "payment.succeeded")
	b.awaitSettled()
	if _, err := s.FanOutOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.execute(`DELETE FROM events`)
	b.run(s)
	await.Until(t, patience, "it has failed", func() bool {
		return b.count(`SELECT count(*) FROM webhook_deliveries WHERE status = 'failed'`) == 1
	})
	if n := len(to.got()); n != 0 {
		t.Errorf("the receiver got %d requests", n)
	}
}

func TestTestEventIsSentAndSigned(t *testing.T) {
	b := newBench(t)
	to := newReceiver(t, nil)
	s := b.service()
	secret := b.put(s, "shop", webhooks.Terms{URL: to.URL})
	b.run(s)
	at, err := s.SendTest(t.Context(), webhooks.Ref{MerchantID: merchantID, ID: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	to.await(t, []string{at.EventID()})
	got := to.got()[0]
	if err := got.verify(t, secret); err != nil {
		t.Error(err)
	}
	if want := `{"id":"` + at.EventID() + `","type":"webhook.test",`; !strings.HasPrefix(
		string(got.body), want) {
		t.Errorf("it is %s", got.body)
	}
}

// The mark gives up the delivery already, because its time is over.
func TestAnswer410AtTheLastTryIsCountedAndLogged(t *testing.T) {
	b := newBench(t)
	to := newReceiver(t, status(http.StatusGone))
	s := b.service(func(c *webhooks.Config) { c.Schedule.GiveUp = time.Millisecond })
	b.put(s, "shop", webhooks.Terms{URL: to.URL})
	b.run(s)
	b.insert(1, "payment.succeeded")
	await.Until(t, patience, "the log says that it is disabled", func() bool {
		return strings.Contains(b.log.String(), "answered 410 and is disabled")
	})
	if n := s.Stats().GivenUp; n != 1 {
		t.Errorf("%d deliveries are given up, want 1", n)
	}
}

// The answer is that of the URL before. The event goes to the new one.
func TestAnswer410OfAnOldURLLosesNoEvent(t *testing.T) {
	b := newBench(t)
	asked, moved := make(chan struct{}), make(chan struct{})
	before := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-moved
		w.WriteHeader(http.StatusGone)
	})
	after := newReceiver(t, nil)
	s := b.service()
	b.put(s, "shop", webhooks.Terms{URL: before.URL})
	b.run(s)
	ids := b.insert(1, "payment.succeeded")
	<-asked
	b.put(s, "shop", webhooks.Terms{URL: after.URL})
	close(moved)
	after.await(t, ids)
}

// A receiver that hangs keeps deliveries from being sent in time. They are given back, and
// count no try.
func TestDeliveryThatWasNotSentCountsNoTry(t *testing.T) {
	b := newBench(t)
	hanging := make(chan struct{})
	r := newReceiver(t, func(_ http.ResponseWriter, request *http.Request) {
		select {
		case <-hanging:
		case <-request.Context().Done():
		}
	})
	s := b.service(func(c *webhooks.Config) {
		c.Schedule.Timeout, c.Schedule.Lease = 200*time.Millisecond, 500*time.Millisecond
	})
	b.put(s, "erp", webhooks.Terms{URL: r.URL})
	ids := b.insert(12, "payment.succeeded")
	b.run(s)
	await.Until(t, patience, "some tries have failed", func() bool {
		return len(b.attempts(s, "erp")) >= 8
	})
	close(hanging)
	r.turn(nil)
	await.Until(t, patience, "all events are delivered", func() bool {
		return b.count(`SELECT count(*) FROM webhook_deliveries WHERE status = 'delivered'`) ==
			len(ids)
	})
	if n := b.count(`
		SELECT count(*) FROM webhook_deliveries d
		WHERE d.attempts <> (
			SELECT count(*) FROM webhook_attempts a
			WHERE a.transaction_id = d.transaction_id AND a.event_id = d.event_id)`); n > 0 {
		t.Errorf("%d deliveries count tries that were not made", n)
	}
}
