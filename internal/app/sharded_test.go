package app_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/internal/app"
	"github.com/paymentsvc/paymentsvc/lab/inprocess"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// Charges were tried on a cluster of Citus, and the feed of events was not.
func TestUntriedPartsAreOffInShardedMode(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Shard(t)
	for _, row := range []struct {
		untried bool
		events  int
	}{{false, http.StatusNotFound}, {true, http.StatusOK}} {
		in := inprocess.Start(t, db.URL, func(c *app.Config) { c.ShardedUntried = row.untried })
		m := journal.NewMerchant(t, in, db.URL)
		charged := m.Charge(t.Context(), in.URL(), "k", journal.NewCharge(1))
		if charged.Status != http.StatusCreated {
			t.Errorf("untried parts %t: the charge is answered %v", row.untried, charged)
		}
		for _, path := range []string{"/events", "/webhook-endpoints"} {
			got := m.Do(t.Context(), http.MethodGet, in.URL()+path, "", nil)
			if got.Status != row.events {
				t.Errorf("untried parts %t: GET %s is answered %v", row.untried, path, got)
			}
		}
		if !strings.Contains(in.Log.String(), "sharded mode") {
			t.Errorf("untried parts %t: the log does not tell the mode", row.untried)
		}
	}
}

// A node to which a shard was moved has transaction ids of its own. They matter to readers
// of the feed only.
func TestShardedInstanceWithoutFeedChargesBesideForeignIDs(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Shard(t)
	if _, err := db.Pool.Exec(t.Context(), `
		INSERT INTO event_horizons (merchant_id, transaction_id, event_id, created_before)
		VALUES (1, '9000000000000000000', gen_random_uuid(), now())`); err != nil {
		t.Fatal(err)
	}
	in := inprocess.Start(t, db.URL, func(c *app.Config) { c.ShardedUntried = false })
	m := journal.NewMerchant(t, in, db.URL)
	charged := m.Charge(t.Context(), in.URL(), "k", journal.NewCharge(1))
	if charged.Status != http.StatusCreated {
		t.Errorf("the charge is answered %v", charged)
	}
}

func TestShardedInstanceRefusesUntriedParts(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Shard(t)
	for name, set := range map[string]func(*app.Config){
		"a card processor": func(c *app.Config) { c.Processor.SecretKey = "sk_test_1" },
		"a broker":         func(c *app.Config) { c.NATS.URL = "nats://127.0.0.1:1" },
	} {
		config := app.Config{
			Workers: 1, BatchSizeMax: 1, QueueSizeMax: 1, ReadConnections: 2, AllowDataLoss: true,
		}
		set(&config)
		in, err := app.New(t.Context(), config, db.URL, slog.New(slog.DiscardHandler))
		if err == nil {
			in.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "SHARDED_UNTRIED=true") {
			t.Errorf("with %s it came to %v", name, err)
		}
	}
}
