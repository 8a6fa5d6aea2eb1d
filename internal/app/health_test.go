package app

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// A dump may be restored under an instance that runs.
func TestRunningInstanceIsNotReadyWithEventsOfAnotherCluster(t *testing.T) {
	t.Parallel()
	db := pgtest.NewBroken(t) // the event belongs to no payment
	pools, err := postgres.Open(t.Context(),
		postgres.Options{URL: db.URL, GeneralSize: 1, MoneySize: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pools.Close)
	h := newHealth(pools, true, slog.New(slog.DiscardHandler))
	check := func() error {
		if err := h.checkIDs(t.Context()); err != nil {
			t.Fatal(err)
		}
		return h.ready()
	}
	if err := check(); err != nil {
		t.Errorf("without events: %v", err)
	}
	if _, err := db.Pool.Exec(t.Context(), `
		WITH made AS (INSERT INTO merchants (id, name) VALUES (1, 'one') RETURNING id)
		INSERT INTO events (merchant_id, transaction_id, id, type, payment_id, payment_version,
			data, created_at)
		SELECT id, '9000000000000000000', gen_random_uuid(), 'payment.succeeded',
			gen_random_uuid(), 1, '{}', clock_timestamp()
		FROM made`); err != nil {
		t.Fatal(err)
	}
	if err := check(); !errors.Is(err, outbox.ErrForeignIDs) {
		t.Errorf("with the event: %v", err)
	}
	if _, err := db.Pool.Exec(t.Context(), `DELETE FROM events`); err != nil {
		t.Fatal(err)
	}
	if err := check(); err != nil {
		t.Errorf("without it again: %v", err)
	}
}
