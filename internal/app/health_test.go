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
	db := pgtest.New(t)
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
		INSERT INTO event_horizons (merchant_id, transaction_id, event_id, created_before)
		VALUES (1, '9000000000000000000', gen_random_uuid(), now())`); err != nil {
		t.Fatal(err)
	}
	if err := check(); !errors.Is(err, outbox.ErrForeignIDs) {
		t.Errorf("with the event: %v", err)
	}
	if _, err := db.Pool.Exec(t.Context(), `DELETE FROM event_horizons`); err != nil {
		t.Fatal(err)
	}
	if err := check(); err != nil {
		t.Errorf("without it again: %v", err)
	}
}
