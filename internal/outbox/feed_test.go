package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// feed is a merchant's feed in a database of its own.
type feed struct {
	*testing.T
	*outbox.Feed
	db *pgtest.DB
}

func newFeed(t *testing.T) *feed {
	t.Helper()
	t.Parallel()
	db := pgtest.NewBroken(t)
	pools, err := postgres.Open(t.Context(),
		postgres.Options{URL: db.URL, GeneralSize: 2, MoneySize: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pools.Close)
	f := &feed{t, outbox.NewFeed(pools.General, pgtest.Sharded()), db}
	f.exec(`INSERT INTO merchants (id, name) VALUES (1, 'one'), (2, 'two')`)
	return f
}

func (f *feed) exec(sql string, args ...any) {
	f.Helper()
	if _, err := f.db.Pool.Exec(f.Context(), sql, args...); err != nil {
		f.Fatalf("%s: %v", sql, err)
	}
}

// write commits events in a transaction.
func (f *feed) write(events ...outbox.Event) {
	f.Helper()
	if err := pgx.BeginFunc(f.Context(), f.db.Pool, func(tx pgx.Tx) error {
		return insert(f.Context(), tx, events...)
	}); err != nil {
		f.Fatal(err)
	}
}

// settle waits for the end of the transactions that other tests run on this server. The
// oldest running transaction is that of the whole server.
func (f *feed) settle() {
	f.Helper()
	await.Until(f, time.Minute, "the transactions of other tests have ended", func() (ok bool) {
		if err := f.db.Pool.QueryRow(f.Context(), `
			SELECT NOT EXISTS (
				SELECT FROM events
				WHERE transaction_id >= pg_snapshot_xmin(pg_current_snapshot())
					AND transaction_id < pg_snapshot_xmax(pg_current_snapshot()))`).
			Scan(&ok); err != nil {
			f.Fatal(err)
		}
		return ok
	})
}

// read reads a page. after may be nil: the beginning.
func (f *feed) read(after *outbox.Position, filter outbox.Filter, limit int) outbox.Page {
	f.Helper()
	page, err := f.Read(f.Context(), 1, after, filter, limit)
	if err != nil {
		f.Fatal(err)
	}
	return page
}

// readAll reads pages to the end.
func (f *feed) readAll(after *outbox.Position, filter outbox.Filter, limit int) (
	all []outbox.Event, end outbox.Position,
) {
	f.Helper()
	for {
		page := f.read(after, filter, limit)
		all = append(all, page.Events...)
		if len(page.Events) > limit {
			f.Fatalf("a page of at most %d has %d events", limit, len(page.Events))
		}
		if after != nil && page.Next == *after {
			return all, page.Next
		}
		after = &page.Next
	}
}

func (f *feed) wantLost(after outbox.Position, want error) {
	f.Helper()
	_, err := f.Read(f.Context(), 1, &after, outbox.Filter{}, 10)
	if !errors.Is(err, want) {
		f.Errorf("a page after %s: %v, want %v", after.EventID(), err, want)
	}
}

func ids(events []outbox.Event) (ids []uuid.UUID) {
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	return ids
}

func (f *feed) want(got []outbox.Event, want ...outbox.Event) {
	f.Helper()
	if !slices.Equal(ids(got), ids(want)) {
		f.Errorf("the events are\n%v\nwant\n%v", ids(got), ids(want))
	}
}

func TestPagesHaveEveryEventOnceInOrder(t *testing.T) {
	f := newFeed(t)
	var written []outbox.Event
	for range 5 {
		batch := []outbox.Event{
			newEvent("payment.succeeded", `{}`), newEvent("payment.declined", `{}`),
			newEvent("payment.succeeded", `{}`),
		}
		f.write(batch...)
		written = append(written, batch...)
	}
	stranger := newEvent("payment.succeeded", `{}`)
	stranger.MerchantID = 2
	f.write(stranger)
	f.settle()

	for limit := 1; limit <= 16; limit++ {
		all, end := f.readAll(nil, outbox.Filter{}, limit)
		f.want(all, written...)
		if end != all[14].Position() {
			t.Errorf("the end is %v, not the last event", end)
		}
	}
	for limit := 1; limit <= 6; limit++ {
		declined, _ := f.readAll(nil, outbox.Filter{Type: "payment.declined"}, limit)
		f.want(declined, written[1], written[4], written[7], written[10], written[13])
		ofPayment, _ := f.readAll(nil, outbox.Filter{PaymentID: written[6].PaymentID}, limit)
		f.want(ofPayment, written[6])
		none, _ := f.readAll(nil, outbox.Filter{
			Type: "payment.declined", PaymentID: written[6].PaymentID,
		}, limit)
		f.want(none)
	}
}

// A filter reads a bounded part of the feed at once, so a page may be empty and not be
// the end.
func TestFilterThatFewEventsMeetReadsOn(t *testing.T) {
	f := newFeed(t)
	many := make([]outbox.Event, 5000)
	for i := range many {
		many[i] = newEvent("payment.declined", `{}`)
	}
	rare := newEvent("payment.canceled", `{}`)
	f.write(many...)
	f.write(rare)
	f.settle()
	filter := outbox.Filter{Type: "payment.canceled"}
	first := f.read(nil, filter, 20)
	if len(first.Events) > 0 || first.Next == (outbox.Position{}) {
		t.Errorf("the first page has %d events and ends at %v", len(first.Events), first.Next)
	}
	found, _ := f.readAll(nil, filter, 20)
	f.want(found, rare)
}

// An event that commits late has a lower place than events that are committed already.
func TestAnEventThatCommitsLateIsNotSkipped(t *testing.T) {
	f := newFeed(t)
	before, early, late := newEvent("payment.succeeded", `{"n":1}`),
		newEvent("payment.succeeded", `{"n":2}`), newEvent("payment.succeeded", `{"n":3}`)
	f.write(before)
	f.settle()
	slow, err := f.db.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Rollback(context.Background())
	if err := insert(t.Context(), slow, late); err != nil {
		t.Fatal(err)
	}
	f.write(early)
	seen, cursor := f.readAll(nil, outbox.Filter{}, 10)
	f.want(seen, before) // the slow transaction is older than early
	if err := slow.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.settle()
	rest, _ := f.readAll(&cursor, outbox.Filter{}, 10)
	f.want(rest, late, early)
}

func TestCursorWhoseEventIsMissingIsLost(t *testing.T) {
	f := newFeed(t)
	empty := f.read(nil, outbox.Filter{}, 10).Next
	first, second, third := newEvent("payment.succeeded", `{}`),
		newEvent("payment.succeeded", `{}`), newEvent("payment.succeeded", `{}`)
	f.write(first)
	f.write(second)
	f.write(third)
	f.settle()
	all, _ := f.readAll(&empty, outbox.Filter{}, 10) // a cursor from before the first event
	f.want(all, first, second, third)

	f.exec(`DELETE FROM events WHERE id = $1`, second.ID) // as an older copy lacks it
	f.wantLost(all[1].Position(), outbox.ErrCursorLost)
	if rest, _ := f.readAll(new(all[0].Position()), outbox.Filter{}, 10); len(rest) != 1 {
		t.Errorf("%d events after the first, want 1", len(rest))
	}
	for _, unknown := range []outbox.Position{
		{TransactionID: all[0].TransactionID, ID: uuid.Must(uuid.NewV7())},
		{TransactionID: math.MaxUint64, ID: uuid.Max},
		{TransactionID: 1},
	} {
		f.wantLost(unknown, outbox.ErrCursorLost)
	}
	if _, err := f.Read(t.Context(), 2, new(all[0].Position()), outbox.Filter{}, 10); !errors.Is(
		err, outbox.ErrCursorLost) {
		t.Errorf("another merchant's position: %v", err)
	}
}

func TestIDOfAnEventIsItsPlaceInTheFeed(t *testing.T) {
	f := newFeed(t)
	f.write(newEvent("payment.succeeded", `{"n":1}`), newEvent("payment.succeeded", `{"n":2}`))
	f.write(newEvent("payment.declined", `{"n":3}`))
	f.settle()
	all, _ := f.readAll(nil, outbox.Filter{}, 10)
	var sorted []string
	for _, e := range all {
		id := e.Position().EventID()
		sorted = append(sorted, id)
		at, err := outbox.ParseEventID(id)
		if err != nil || at != e.Position() {
			t.Errorf("%s is read as %v, %v", id, at, err)
		}
		got, err := f.Get(t.Context(), 1, at)
		if err != nil || string(got.JSON()) != string(e.JSON()) {
			t.Errorf("%s is %s, %v; the feed has %s", id, got.JSON(), err, e.JSON())
		}
		if _, err := f.Get(t.Context(), 2, at); !errors.Is(err, outbox.ErrNotFound) {
			t.Errorf("another merchant finds it: %v", err)
		}
	}
	if !slices.IsSorted(sorted) {
		t.Errorf("the ids do not sort as the feed does: %v", sorted)
	}
	id := sorted[0]
	for _, text := range []string{
		"", "evt_", id[4:], id + "0", id[:len(id)-2], "EVT_" + id[4:],
		"evt_" + fmt.Sprintf("%048X", 0xabcdef), "evt_" + fmt.Sprintf("%048s", "g"),
	} {
		if at, err := outbox.ParseEventID(text); err == nil {
			t.Errorf("%q is read as %v", text, at)
		}
	}
	want := fmt.Sprintf(`{"id":"%s","type":"payment.succeeded",`+
		`"created_at":"2026-11-01T10:00:00.123456Z","payment_id":"pay_%x","payment_version":1,`+
		`"data":{"n":1}}`, id, all[0].PaymentID[:])
	if got := string(all[0].JSON()); got != want {
		t.Errorf("the event is\n%s\nwant\n%s", got, want)
	}
}

func TestLagSeesATransactionThatHoldsTheFeedBack(t *testing.T) {
	f := newFeed(t)
	var lag outbox.Lag
	sample := func() time.Duration {
		if err := lag.Sample(t.Context(), f.db.Pool); err != nil {
			t.Fatal(err)
		}
		return lag.Held()
	}
	open, err := f.db.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer open.Rollback(context.Background())
	if _, err := open.Exec(t.Context(), `SELECT pg_current_xact_id()`); err != nil {
		t.Fatal(err)
	}
	const held = 100 * time.Millisecond
	await.Until(t, time.Minute, "the lag grows", func() bool { return sample() > held })
	if err := open.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	await.Until(t, time.Minute, "the lag is over", func() bool { return sample() < held })
}
