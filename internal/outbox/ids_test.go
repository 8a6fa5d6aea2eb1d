package outbox_test

import (
	"errors"
	"os"
	"regexp"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
)

// A dump brings transaction ids that its new cluster has not given out.
// docs/operations.md says how to use them up.
func TestEventsOfAnotherClusterAreNoticedUntilTheirIDsAreUsedUp(t *testing.T) {
	f := newFeed(t)
	f.write(newEvent("payment.succeeded", `{"n":1}`))
	f.settle()
	before := f.read(nil, outbox.Filter{}, 10).Next
	if err := outbox.CheckIDs(t.Context(), f.db.Pool); err != nil {
		t.Fatal(err)
	}
	foreign := newEvent("payment.succeeded", `{"n":2}`)
	f.exec(`ALTER TABLE events DISABLE TRIGGER USER`) // pg_restore makes the triggers last
	f.exec(`
		INSERT INTO events (merchant_id, transaction_id, id, type, payment_id, payment_version,
			data, created_at)
		SELECT 1, (pg_snapshot_xmax(pg_current_snapshot())::text::bigint + 5000)::text::xid8, $1,
			'payment.succeeded', $1, 1, '{}', clock_timestamp()`, foreign.ID)
	f.exec(`ALTER TABLE events ENABLE TRIGGER USER`)
	if err := f.db.Pool.QueryRow(t.Context(), `SELECT transaction_id FROM events WHERE id = $1`,
		foreign.ID).Scan(&foreign.TransactionID); err != nil {
		t.Fatal(err)
	}
	if err := outbox.CheckIDs(t.Context(), f.db.Pool); !errors.Is(err, outbox.ErrForeignIDs) {
		t.Errorf("with an event of another cluster: %v", err)
	}
	f.wantLost(foreign.Position(), outbox.ErrForeignIDs)
	if page := f.read(&before, outbox.Filter{}, 10); len(page.Events) > 0 {
		t.Errorf("the feed shows %v", ids(page.Events))
	}

	f.useUpIDs()
	if err := outbox.CheckIDs(t.Context(), f.db.Pool); err != nil {
		t.Error(err)
	}
	f.settle()
	seen, _ := f.readAll(&before, outbox.Filter{}, 10)
	f.want(seen, foreign)
	f.write(newEvent("payment.succeeded", `{"n":3}`))
	f.settle()
	if rest, _ := f.readAll(new(foreign.Position()), outbox.Filter{}, 10); len(rest) != 1 {
		t.Errorf("%d events after the restored one, want 1", len(rest))
	}
}

// useUpIDs does what docs/operations.md says.
func (f *feed) useUpIDs() {
	f.Helper()
	manual, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		f.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```sql\n(DO [^`]*)```").FindSubmatch(manual)
	if block == nil {
		f.Fatal("docs/operations.md has no such block")
	}
	conn, err := pgx.Connect(f.Context(), f.db.URL)
	if err != nil {
		f.Fatal(err)
	}
	defer conn.Close(f.Context())
	if _, err := conn.Exec(f.Context(), string(block[1])); err != nil {
		f.Fatal(err)
	}
}

// A reader at the end of an empty feed would wait until the cluster reaches the id of its
// cursor, and then miss what came before.
func TestHorizonOfAnotherClusterIsNoticed(t *testing.T) {
	f := newFeed(t)
	f.exec(`
		INSERT INTO event_horizons (merchant_id, transaction_id, event_id, created_before)
		SELECT 1, (pg_snapshot_xmax(pg_current_snapshot())::text::bigint + 5000)::text::xid8, $1,
			clock_timestamp()`, uuid.Max)
	if err := outbox.CheckIDs(t.Context(), f.db.Pool); !errors.Is(err, outbox.ErrForeignIDs) {
		t.Errorf("with the horizon of another cluster: %v", err)
	}
	f.useUpIDs()
	if err := outbox.CheckIDs(t.Context(), f.db.Pool); err != nil {
		t.Error(err)
	}
}
