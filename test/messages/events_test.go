package messages

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
)

// event is what the tests look at.
type event struct {
	ID        string `json:"id"`
	PaymentID string `json:"payment_id"`
	Version   int    `json:"payment_version"`
}

// published are the events of the merchant that the broker has, in its order.
func (b *bench) published() (all []event) {
	b.Helper()
	for _, message := range b.stored(events) {
		if message.Subject != fmt.Sprint("payments.events.", b.merchant.ID) {
			b.Errorf("an event is on %s", message.Subject)
		}
		var e event
		b.must(json.Unmarshal(message.Data, &e))
		if id := message.Header.Get("Nats-Msg-Id"); id != e.ID {
			b.Errorf("event %s has the Nats-Msg-Id %s", e.ID, id)
		}
		all = append(all, e)
	}
	return all
}

// awaitEvents waits until the broker has an event for each row of the table events, and
// returns all that it has.
func (b *bench) awaitEvents() (got []event) {
	b.Helper()
	var want int
	b.must(b.db.Pool.QueryRow(b.Context(), `
		SELECT count(*) FROM events WHERE merchant_id = $1`, b.merchant.ID).Scan(&want))
	await.Until(b, patience, fmt.Sprintf("the broker has %d events", want), func() bool {
		ids := map[string]bool{}
		got = b.published()
		for _, e := range got {
			ids[e.ID] = true
		}
		return len(ids) == want
	})
	return got
}

// wantInOrder fails the test unless the first copies of a payment's events come in the
// order of payment_version.
func wantInOrder(t *testing.T, got []event) {
	t.Helper()
	last, seen := map[string]int{}, map[string]bool{}
	for _, e := range got {
		if seen[e.ID] {
			continue
		}
		seen[e.ID] = true
		if e.Version != last[e.PaymentID]+1 {
			t.Errorf("payment %s: version %d follows %d", e.PaymentID, e.Version,
				last[e.PaymentID])
		}
		last[e.PaymentID] = e.Version
	}
}

// Clients authorize and capture while the broker is killed again and again.
func TestNoEventIsLostWhenTheBrokerIsKilled(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2)
	authorization := journal.NewCharge(100)
	authorization.AuthorizeOnly = true
	var charging sync.WaitGroup
	const clients, rounds, perRound = 4, 3, 25
	for round := range rounds {
		for client := range clients {
			charging.Go(func() {
				for i := range perRound {
					key := fmt.Sprintf("%d-%d-%d", round, client, i)
					at := b.fleet.Pick()
					answer := b.merchant.Charge(t.Context(), at, key, authorization)
					path := at + "/payments/" + answer.PaymentID() + "/capture"
					captured := b.merchant.Do(t.Context(), "POST", path, "c-"+key,
						[]byte(`{}`))
					if captured.Class() != journal.Ack {
						t.Errorf("a capture while the broker is killed: %v", captured)
					}
				}
			})
		}
		await.Until(t, patience, "events go out", func() bool {
			return len(b.stored(events)) > round*clients*perRound
		})
		b.must(b.broker.Kill(t.Context()))
		b.must(b.broker.Restart(t.Context()))
		charging.Wait()
	}
	got := b.awaitEvents()
	wantInOrder(t, got)
	t.Logf("the broker has %d events of %d payments", len(got), clients*rounds*perRound)
}

// A cursor moves on when the broker has the events. If the broker is killed and has
// lost them, no event was marked as published before.
func TestEventsWaitForABrokerThatRefusesThem(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	b.merchant.Charge(t.Context(), b.instance(0).URL(), "first", journal.NewCharge(100))
	b.awaitEvents()
	stream, err := b.js.Stream(t.Context(), events)
	b.must(err)
	config := stream.CachedInfo().Config
	b.must(b.js.DeleteStream(t.Context(), events))
	for i := range 5 {
		b.merchant.Charge(t.Context(), b.instance(0).URL(), fmt.Sprint(i),
			journal.NewCharge(100))
	}
	await.Until(t, patience, "events are refused", func() bool {
		return b.instance(0).Stderr.Count(`"worker":"publishing events"`) > 0
	})
	_, err = b.js.CreateOrUpdateStream(t.Context(), config)
	b.must(err)
	await.Until(t, patience, "the events that were refused", func() bool {
		return len(b.published()) == 5
	})
}

// The broker may refuse the events of one merchant, by a limit or a permission.
func TestRefusedEventsOfOneMerchantDelayNoOther(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	_, err := b.js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: events, Subjects: []string{"payments.events.*"},
		MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true,
	})
	b.must(err)
	b.start(1)
	in := b.instance(0)
	charge := func(merchant *journal.Merchant, key string) {
		merchant.Charge(t.Context(), in.URL(), key, journal.NewCharge(100))
	}
	charge(b.merchant, "first")
	charge(b.merchant, "refused")
	others := []*journal.Merchant{}
	for range 3 {
		others = append(others, journal.NewMerchant(t, in, b.db.URL))
	}
	await.Until(t, patience, "an event is refused", func() bool {
		return in.Stderr.Count(`"worker":"publishing events"`) > 0
	})
	for _, other := range others {
		charge(other, "key")
	}
	stream, err := b.js.Stream(t.Context(), events)
	b.must(err)
	await.Until(t, patience, "an event of each other merchant", func() bool {
		for _, other := range others {
			subject := fmt.Sprint("payments.events.", other.ID)
			if _, err := stream.GetLastMsgForSubject(t.Context(), subject); err != nil {
				return false
			}
		}
		return true
	})
}

// Where the retention was faster than the broker, the publisher goes on from the oldest
// event that is kept, and counts what happened.
func TestPublisherGoesOnAfterALostCursor(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	b.merchant.Charge(t.Context(), b.instance(0).URL(), "first", journal.NewCharge(100))
	first := b.awaitEvents()
	// As if the last event that was published had been one that is gone.
	_, err := b.db.Pool.Exec(t.Context(), `
		UPDATE feed_cursors SET event_id = gen_random_uuid() WHERE consumer = 'nats'`)
	b.must(err)
	b.merchant.Charge(t.Context(), b.instance(0).URL(), "second", journal.NewCharge(100))
	await.Until(t, patience, "the second event", func() bool { return len(b.published()) > 1 })
	if second := b.published()[1]; second.ID == first[0].ID {
		t.Error("the broker got an event twice within its window")
	}
	metrics := b.merchant.Do(t.Context(), "GET", b.instance(0).AdminURL()+"/metrics", "", nil)
	if !strings.Contains(string(metrics.Body), "\npaymentsvc_broker_cursors_lost_total 1\n") {
		t.Error("the lost cursor is not counted")
	}
}
