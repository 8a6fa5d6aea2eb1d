package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/lab/await"
)

// event is an event as callers see it. Raw are its bytes.
type event struct {
	ID, Type       string
	PaymentID      string `json:"payment_id"`
	PaymentVersion int64  `json:"payment_version"`
	Data           struct{ ID, Status string }
	Raw            string `json:"-"`
}

func (e *event) UnmarshalJSON(text []byte) error {
	type plain event
	e.Raw = string(text)
	return json.Unmarshal(text, (*plain)(e))
}

// follow reads the feed to its end. The path has a query.
func (m *merchant) follow(path, cursor string) (all []event, end string) {
	m.t.Helper()
	for {
		from := path
		if cursor != "" {
			from += "&cursor=" + cursor
		}
		p := readPage[event](m.get(from))
		if p.NextCursor == nil {
			m.t.Fatalf("%s has no next cursor", from)
		}
		all = append(all, p.Data...)
		if *p.NextCursor == cursor {
			return all, cursor
		}
		cursor = *p.NextCursor
	}
}

// awaitEvents waits until the feed shows so many events, and returns them. Transactions of
// other tests, on the same server, hold them back.
func (m *merchant) awaitEvents(n int) (all []event) {
	m.t.Helper()
	await.Until(m.t, patience, fmt.Sprint("the feed shows ", n, " events"), func() bool {
		all, _ = m.follow("/events?limit=100", "")
		return len(all) >= n
	})
	return all
}

func typesOf(events []event) (types []string) {
	for _, e := range events {
		types = append(types, e.Type)
	}
	return types
}

func TestEveryChangeIsAnEventOfTheFeed(t *testing.T) {
	m := onTwoInstances(t)
	before := len(m.awaitEvents(2)) // of alice's money
	held := m.authorize("hold", 100)
	m.post("capture", held+"/capture", `{"amount":60}`).want(200)
	refund := m.post("refund", held+"/refunds", `{"amount":1}`).want(201)
	m.post("cancel", m.authorize("void", 5)+"/cancel", "").want(200)
	m.charge("declined", aliceToShop(aliceHas)).want(402)
	id := strings.TrimPrefix(held, "/payments/")

	all := m.awaitEvents(before + 6)
	want := []string{
		"payment.authorized", "payment.succeeded", "refund.succeeded", "payment.authorized",
		"payment.canceled", "payment.declined",
	}
	if types := typesOf(all[before:]); !slices.Equal(types, want) {
		t.Errorf("the events are %v, want %v", types, want)
	}
	ofPayment, _ := m.follow("/events?limit=2&payment_id="+id, "")
	if types := typesOf(ofPayment); !slices.Equal(types, want[:3]) {
		t.Errorf("the payment's events are %v", types)
	}
	for i, e := range ofPayment {
		if e.PaymentID != id || e.PaymentVersion != int64(i+1) {
			t.Errorf("event %d is %s", i, e.Raw)
		}
	}
	if data := ofPayment[2].Data.ID; !strings.HasSuffix(refund.location(), data) {
		t.Errorf("the refund's event is about %s", data)
	}
	authorized, _ := m.follow("/events?type=payment.authorized", "")
	if len(authorized) != 2 {
		t.Errorf("%d authorizations, want 2", len(authorized))
	}
	for limit := 1; limit <= 9; limit++ {
		paged, end := m.follow(fmt.Sprint("/events?limit=", limit), "")
		if !slices.Equal(paged, all) {
			t.Errorf("in pages of %d: %v", limit, typesOf(paged))
		}
		if more, same := m.follow("/events?limit=5", end); len(more) > 0 || same != end {
			t.Errorf("after the end are %v", typesOf(more))
		}
	}
	for _, e := range all {
		if a := m.get("/events/" + e.ID).want(200); string(a.body) != e.Raw {
			a.fail("is not %s", e.Raw)
		}
	}
	for _, latest := range []struct {
		query string
		want  []event
	}{
		{"limit=2", all[len(all)-2:]},
		{"limit=100", all},
		{"limit=1&type=payment.authorized", authorized[1:]},
		{"limit=5&payment_id=" + id, ofPayment},
	} {
		p := readPage[event](m.get("/events?begin=latest&" + latest.query))
		if !slices.Equal(p.Data, latest.want) {
			t.Errorf("the latest with %s are %v", latest.query, typesOf(p.Data))
		}
		if more, end := m.follow("/events?"+latest.query, *p.NextCursor); len(more) > 0 ||
			end != *p.NextCursor {
			t.Errorf("after the latest with %s are %v", latest.query, typesOf(more))
		}
	}
	for _, wrong := range []string{
		"begin=end", "type=payment", "type=PAYMENT.SUCCEEDED", "payment_id=" + id[4:],
		"payment_id=evt_0",
	} {
		m.get("/events?" + wrong).wantProblem(malformed)
	}
	for _, wrong := range []string{"x", "evt_0", all[0].ID[4:], strings.ToUpper(all[0].ID)} {
		m.get("/events/" + wrong).wantProblem("not_found")
	}
}

// deleteEvents deletes all events of the merchants so far, as the retention does later.
func (m *merchant) deleteEvents() {
	m.t.Helper()
	await.Until(m.t, patience, "all events are deleted", func() bool {
		if _, err := outbox.DeleteExpired(context.Background(), m.db.Pool, 0, 1); err != nil {
			m.t.Fatal(err)
		}
		all, _ := m.follow("/events?limit=100", "")
		return len(all) == 0
	})
}

func TestReaderIsToldThatEventsAreGone(t *testing.T) {
	m := onTwoInstances(t)
	m.awaitEvents(2)
	old := *readPage[event](m.get("/events?limit=1")).NextCursor
	_, end := m.follow("/events?limit=1", "")
	m.deleteEvents()
	m.get("/events?cursor=" + old).wantProblem("cursor_lost")
	s := m.stream("/events?cursor="+old, "")
	if s.StatusCode != 410 {
		t.Errorf("a stream begins with status %d", s.StatusCode)
	}
	// A reader who was at the end has missed nothing.
	if more, _ := m.follow("/events?limit=1", end); len(more) > 0 {
		t.Errorf("after the end are %v", typesOf(more))
	}
	_, begin := m.follow("/events?limit=1", "")
	m.charge("k", aliceToShop(1)).want(201)
	for _, cursor := range []string{end, begin, ""} {
		await.Until(t, patience, "the new event is there", func() bool {
			more, _ := m.follow("/events?limit=1", cursor)
			return len(more) == 1
		})
	}
}

// A poller that asks GET /payments for what is newer than the newest payment that it has
// seen loses payments, because commits overtake each other.
func TestPollerOfTheFeedLosesNoPayment(t *testing.T) {
	m := onTwoInstances(t)
	const writers, each = 16, 40
	done := make(chan struct{})
	go func() {
		defer close(done)
		atOnce(writers, func(w int) *answer {
			var a *answer
			for i := range each {
				a = m.chargeOn(m.either(w), fmt.Sprint("writer ", w, " ", i),
					aliceToShop(1).with("source_account", "world").String()).want(201)
			}
			return a
		})
	}()
	seen, cursor := map[string]int{}, ""
	poll := func() {
		path := "/events?limit=7&type=payment.succeeded"
		if cursor != "" {
			path += "&cursor=" + cursor
		}
		p := readPage[event](m.get(path))
		for _, e := range p.Data {
			seen[e.PaymentID]++
		}
		cursor = *p.NextCursor
	}
	polls := 0
	for running := true; running; polls++ {
		select {
		case <-done:
			running = false
		default:
		}
		poll()
	}
	stored := m.paymentsStored("true")
	await.Until(t, patience, "the poller has come to the end", func() bool {
		poll()
		return len(seen) >= len(stored)
	})
	for _, id := range stored {
		if seen[id] != 1 {
			t.Errorf("payment %s was seen %d times", id, seen[id])
		}
	}
	if len(stored) != writers*each+2 || polls < 10 {
		t.Errorf("%d payments, %d polls while they were made", len(stored), polls)
	}
}
