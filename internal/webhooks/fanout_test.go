package webhooks_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/webhooks"
	"github.com/paymentsvc/paymentsvc/lab/await"
)

// A cursor that moved before its deliveries were written would lose events.
func TestFailedFanOutLosesNoEvent(t *testing.T) {
	b := newBench(t)
	to := newReceiver(t, nil)
	s := b.service()
	b.put(s, "shop", webhooks.Terms{URL: to.URL})
	ids := b.insert(3, "payment.succeeded")
	b.awaitSettled()
	b.execute(`ALTER TABLE webhook_deliveries ADD CONSTRAINT nothing_fits CHECK (attempts > 1000)`)
	if _, err := s.FanOutOnce(t.Context()); err == nil {
		t.Fatal("the fan-out wrote deliveries that the table refuses")
	}
	b.execute(`ALTER TABLE webhook_deliveries DROP CONSTRAINT nothing_fits;
		UPDATE feed_cursors SET leased_until = '-infinity'`)
	b.run(s)
	to.await(t, ids)
	b.wantNoneLost()
}

// Several instances at once: each event is fanned out once, and sent once while nothing
// fails.
func TestInstancesShareTheWork(t *testing.T) {
	b := newBench(t)
	to := newReceiver(t, nil)
	first := b.service()
	b.put(first, "shop", webhooks.Terms{URL: to.URL})
	b.run(first)
	b.run(b.service())
	b.run(b.service())
	var ids []string
	for range 10 {
		ids = append(ids, b.insert(20, "payment.succeeded")...)
	}
	to.await(t, ids)
	await.Until(t, patience, "all are marked", func() bool {
		return b.count(`SELECT count(*) FROM webhook_deliveries WHERE status = 'delivered'`) ==
			len(ids)
	})
	if n := len(to.got()); n != len(ids) {
		t.Errorf("%d requests for %d events", n, len(ids))
	}
	b.wantNoneLost()
}

func TestOnlySubscribedAndLaterEventsAreSent(t *testing.T) {
	b := newBench(t)
	declines, all := newReceiver(t, nil), newReceiver(t, nil)
	s := b.service()
	early := b.insert(1, "payment.declined")
	// This transaction is older than the endpoints, and ends later.
	slow, err := b.db.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Rollback(t.Context())
	early = append(early, b.insertIn(slow, 1, "payment.declined")...)
	b.put(s, "declines", webhooks.Terms{
		URL: declines.URL, EventTypes: []string{"payment.declined"},
	})
	b.put(s, "all", webhooks.Terms{URL: all.URL})
	b.run(s)
	if err := slow.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	succeeded, declined := b.insert(1, "payment.succeeded"), b.insert(1, "payment.declined")
	declines.await(t, declined)
	all.await(t, append(succeeded, declined...))
	if n := len(declines.got()); n != 1 {
		t.Errorf("the one for declines got %d requests", n)
	}
	for _, c := range append(all.got(), declines.got()...) {
		if slices.Contains(early, c.id) {
			t.Error("an event from before the endpoint was sent")
		}
	}
	b.wantNoneLost()
}

func TestLostCursorGoesOnFromTheOldestKeptEvent(t *testing.T) {
	b := newBench(t)
	to := newReceiver(t, nil)
	s := b.service()
	b.put(s, "shop", webhooks.Terms{URL: to.URL})
	b.execute(`UPDATE feed_cursors SET transaction_id = '3', event_id = gen_random_uuid()`)
	ids := b.insert(3, "payment.succeeded")
	b.run(s)
	to.await(t, ids)
	if s.Stats().CursorsLost != 1 || b.log.Count("cursor is lost") != 1 {
		t.Errorf("%d cursors lost", s.Stats().CursorsLost)
	}
}

func TestEveryMerchantIsServed(t *testing.T) {
	b := newBench(t)
	s := b.service()
	first, second := newReceiver(t, nil), newReceiver(t, nil)
	b.put(s, "shop", webhooks.Terms{URL: first.URL})
	ofSecond := webhooks.Ref{MerchantID: 2, ID: "shop"}
	_, _, _, err := s.Put(t.Context(), ofSecond, webhooks.Terms{URL: second.URL}, 0)
	if err != nil {
		t.Fatal(err)
	}
	b.insert(5, "payment.succeeded")
	b.execute(`
		INSERT INTO events (merchant_id, id, type, payment_id, payment_version, data, created_at)
		SELECT 2, id, type, payment_id, payment_version, data, created_at FROM events`)
	b.awaitSettled()
	if _, err := s.FanOutOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Watch(t.Context()); err != nil || s.Stats().OldestDue <= 0 {
		t.Errorf("the oldest due delivery is %v late, %v", s.Stats().OldestDue, err)
	}
	stop := b.run(s)
	await.Until(t, patience, "all are marked", func() bool {
		return b.count(`SELECT count(*) FROM webhook_deliveries WHERE status = 'delivered'`) == 10
	})
	stop()
	if n, m := len(first.got()), len(second.got()); n != 5 || m != 5 {
		t.Errorf("the receivers got %d and %d events, want 5 each", n, m)
	}
	if strings.Contains(b.log.String(), "WARN") {
		t.Error("there are warnings in the log")
	}
	b.wantNoneLost()
	b.execute(`DELETE FROM webhook_endpoints`)
	if n, err := s.Reap(t.Context(), time.Hour, 1000); err != nil || n < 5 {
		t.Errorf("%d rows are reaped, %v", n, err)
	}
	if n := b.count(`SELECT count(*) FROM webhook_deliveries`); n != 0 {
		t.Errorf("%d deliveries of deleted endpoints are left", n)
	}
}

// A person may delete a cursor, for example after a shard was moved.
func TestEndpointWithoutCursorCanBeChangedAndDeleted(t *testing.T) {
	b := newBench(t)
	s := b.service()
	terms := webhooks.Terms{URL: "https://example.com"}
	ref := webhooks.Ref{MerchantID: merchantID, ID: "shop"}
	b.put(s, "shop", terms)
	b.execute(`DELETE FROM feed_cursors`)
	terms.URL = "https://example.org"
	endpoint, _, _, err := s.Put(t.Context(), ref, terms, 1)
	if err != nil || endpoint.Version != 2 {
		t.Errorf("the change came to version %d, %v", endpoint.Version, err)
	}
	b.execute(`DELETE FROM feed_cursors`)
	if err := s.Delete(t.Context(), ref, 0); err != nil {
		t.Error(err)
	}
}
