package outbox_test

import (
	"context"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
)

const day = 24 * time.Hour

// backdate moves events into the past, by their data.
func (f *feed) backdate(age time.Duration, data string) {
	f.Helper()
	f.exec(`ALTER TABLE events DISABLE TRIGGER USER`)
	f.exec(`UPDATE events SET created_at = clock_timestamp() - $1::interval
		WHERE data::text = $2`, age, data)
	f.exec(`ALTER TABLE events ENABLE TRIGGER USER`)
}

func (f *feed) deleteExpired(limit int) (deleted int) {
	f.Helper()
	deleted, err := outbox.DeleteExpired(f.Context(), f.db.Pool, 90*day, limit)
	if err != nil {
		f.Fatal(err)
	}
	return deleted
}

func TestRetentionDeletesTheOldestFirstAndMovesTheHorizon(t *testing.T) {
	f := newFeed(t)
	old, older, kept := `{"n":"old"}`, `{"n":"older"}`, `{"n":"kept"}`
	beginning := f.read(nil, outbox.Filter{}, 10).Next
	for _, data := range []string{old, older, old, kept, old} {
		f.write(newEvent("payment.succeeded", data))
	}
	stranger := newEvent("payment.succeeded", kept)
	stranger.MerchantID = 2
	f.write(stranger)
	f.backdate(90*day+time.Minute, old)
	f.backdate(91*day, older)
	f.backdate(90*day-time.Minute, kept)
	f.settle()
	all, _ := f.readAll(nil, outbox.Filter{}, 10)

	if n := f.deleteExpired(2); n != 2 {
		t.Errorf("a batch of 2 deletes %d", n)
	}
	var after bool
	if err := f.db.Pool.QueryRow(t.Context(), `
		SELECT created_before > clock_timestamp() - interval '90 days 2 minutes'
		FROM event_horizons`).Scan(&after); err != nil || !after {
		t.Errorf("the horizon is after both deleted events: %t, %v", after, err)
	}
	// The last deleted event is a good cursor: its reader has missed nothing.
	rest, _ := f.readAll(new(all[1].Position()), outbox.Filter{}, 10)
	f.want(rest, all[2:]...)
	f.wantLost(all[0].Position(), outbox.ErrCursorLost)
	f.wantLost(beginning, outbox.ErrCursorLost)

	// The fifth is as old, and later in the feed than an event that is kept.
	if n := f.deleteExpired(10); n != 1 {
		t.Errorf("the next batch deletes %d, want 1", n)
	}
	if n := f.deleteExpired(2); n != 0 {
		t.Errorf("a batch deletes %d when none is left", n)
	}
	rest, _ = f.readAll(new(all[2].Position()), outbox.Filter{}, 10)
	f.want(rest, all[3:]...)
	f.wantLost(all[1].Position(), outbox.ErrCursorLost)
	first, _ := f.readAll(nil, outbox.Filter{}, 10)
	f.want(first, all[3:]...)

	f.backdate(91*day, kept)
	if n := f.deleteExpired(10); n != 3 {
		t.Errorf("it deletes %d, want 2 and the other merchant's", n)
	}
	if next := f.read(nil, outbox.Filter{}, 10).Next; next != all[4].Position() {
		t.Errorf("an empty feed begins at %v, want the horizon", next)
	}
}

// If the horizon passed the place of a running transaction, its event would be below
// every reader when it commits.
func TestRetentionStaysBelowTheOldestRunningTransaction(t *testing.T) {
	f := newFeed(t)
	slow, err := f.db.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Rollback(context.Background())
	late := newEvent("payment.succeeded", `{"n":"late"}`)
	if err := insert(t.Context(), slow, late); err != nil {
		t.Fatal(err)
	}
	f.write(newEvent("payment.succeeded", `{}`)) // dated long ago
	cursor := f.read(nil, outbox.Filter{}, 10).Next
	if n, err := outbox.DeleteExpired(t.Context(), f.db.Pool, day, 10); n != 0 || err != nil {
		t.Errorf("it deletes %d events, %v", n, err)
	}
	if err := slow.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.settle()
	seen, _ := f.readAll(&cursor, outbox.Filter{}, 10)
	if len(seen) != 2 || seen[0].ID != late.ID {
		t.Errorf("a reader sees %v", ids(seen))
	}
}
