package outbox_test

import (
	"errors"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
)

// lease leases a cursor of the consumer; nil if none is due.
func (f *feed) lease(d time.Duration) *outbox.Cursor {
	f.Helper()
	cursors, err := f.Lease(f.Context(), outbox.Webhooks, d, 10)
	if err != nil {
		f.Fatal(err)
	}
	switch len(cursors) {
	case 0:
		return nil
	case 1:
		return &cursors[0]
	}
	f.Fatalf("%d cursors are leased", len(cursors))
	return nil
}

func (f *feed) advance(c *outbox.Cursor, to outbox.Position) bool {
	f.Helper()
	moved, err := c.Advance(f.Context(), f.db.Pool, to)
	if err != nil {
		f.Fatal(err)
	}
	return moved
}

func TestCursorIsLeasedToOneInstanceWhileThereAreEvents(t *testing.T) {
	f := newFeed(t)
	f.exec(`INSERT INTO feed_cursors (merchant_id, consumer) VALUES (1, 'webhooks')`)
	if f.lease(time.Minute) != nil {
		t.Error("a cursor is leased, and there are no events")
	}
	f.write(newEvent("payment.succeeded", `{}`), newEvent("payment.succeeded", `{}`))
	f.settle()
	c := f.lease(time.Minute)
	if c == nil {
		t.Fatal("no cursor is leased")
	}
	if f.lease(time.Minute) != nil {
		t.Error("it is leased twice")
	}
	page, err := c.Read(t.Context(), f.Feed, 1)
	if err != nil || len(page.Events) != 1 {
		t.Fatalf("%d events, %v", len(page.Events), err)
	}
	if !f.advance(c, page.Next) {
		t.Error("it is not moved on")
	}
	again := f.lease(time.Minute) // Advance has ended the lease, and one event is left
	if again == nil || again.At != page.Next {
		t.Fatalf("then %v is leased, want %v", again, page.Next)
	}
	if page, err = again.Read(t.Context(), f.Feed, 10); err != nil || len(page.Events) != 1 {
		t.Fatalf("%d events, %v", len(page.Events), err)
	}
	f.advance(again, page.Next)
	if f.lease(time.Minute) != nil {
		t.Error("a cursor is leased at the end of the feed")
	}
}

func TestStoppedInstanceDoesNotMoveACursorBack(t *testing.T) {
	f := newFeed(t)
	f.exec(`INSERT INTO feed_cursors (merchant_id, consumer) VALUES (1, 'webhooks')`)
	f.write(newEvent("payment.succeeded", `{}`))
	f.write(newEvent("payment.succeeded", `{}`))
	f.settle()
	all, _ := f.readAll(nil, outbox.Filter{}, 10)
	stopped := f.lease(0)
	other := f.lease(time.Minute)
	if stopped == nil || other == nil {
		t.Fatal("a lease that is over is not given to another instance")
	}
	if !f.advance(other, all[1].Position()) {
		t.Error("the other instance does not move it on")
	}
	if f.advance(stopped, all[0].Position()) {
		t.Error("the stopped instance has moved it back")
	}
}

// After a failover that lost the cursor's event, the new server counts up to its id
// again. The consumer must hear of it before that.
func TestCursorOfALostFutureIsLeasedAndLost(t *testing.T) {
	f := newFeed(t)
	f.exec(`
		INSERT INTO feed_cursors (merchant_id, consumer, transaction_id, event_id)
		VALUES (1, 'webhooks', '9000000000000000000', gen_random_uuid())`)
	c := f.lease(time.Minute)
	if c == nil {
		t.Fatal("it is not leased")
	}
	if _, err := c.Read(t.Context(), f.Feed, 10); !errors.Is(err, outbox.ErrCursorLost) {
		t.Errorf("it reads %v", err)
	}
}

func TestCursorsOfSeveralMerchantsAreLeased(t *testing.T) {
	f := newFeed(t)
	f.exec(`
		INSERT INTO feed_cursors (merchant_id, consumer)
		VALUES (1, 'webhooks'), (2, 'webhooks'), (1, 'nats'), (2, 'nats')`)
	ofSecond := newEvent("payment.succeeded", `{}`)
	ofSecond.MerchantID = 2
	f.write(newEvent("payment.succeeded", `{}`), ofSecond)
	f.settle()
	for _, limit := range []int{1, 10} {
		cursors, err := f.Lease(t.Context(), outbox.Webhooks, time.Minute, limit)
		if err != nil || len(cursors) != 1 {
			t.Errorf("limit %d: %d cursors are leased, want 1 (%v)", limit, len(cursors), err)
		}
	}
	cursors, err := f.Lease(t.Context(), outbox.NATS, time.Minute, 10)
	if err != nil || len(cursors) != 2 || cursors[0].MerchantID == cursors[1].MerchantID {
		t.Errorf("%+v are leased, want those of both merchants (%v)", cursors, err)
	}
}
