package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// hotTables grow without limit, or every charge touches them.
var hotTables = []string{
	"accounts", "entries", "events", "idempotency_answers", "idempotency_keys",
	"payment_references", "payments",
}

// The same for the statements inside the triggers, which cannot be seen: the server
// counts every scan.
func TestAChargeScansNoTableNotEvenInItsTriggers(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	general, money := open(t, db.URL), open(t, db.URL)
	prepareAccounts(t, db)
	before := scansOf(t, db)
	service := newService(t,
		&postgres.Pools{General: general.General, Money: money.Money, Probe: general.Probe})
	chargeWith(t, service)
	service.Close()
	money.Close() // a backend reports its counts when it ends
	await.Until(t, 10*time.Second, "the server has counted", func() bool {
		return scansOf(t, db).byKey["idempotency_keys"] > before.byKey["idempotency_keys"]
	})
	after := scansOf(t, db)
	for _, table := range hotTables {
		if n := after.whole[table] - before.whole[table]; n > 0 {
			t.Errorf("%s was scanned %d times", table, n)
		}
	}
}

type scans struct{ whole, byKey map[string]int64 }

func scansOf(t *testing.T, db *pgtest.DB) scans {
	t.Helper()
	rows, err := db.Pool.Query(t.Context(),
		`SELECT relname::text, seq_scan, coalesce(idx_scan, 0) FROM pg_stat_user_tables`)
	if err != nil {
		t.Fatal(err)
	}
	counted := scans{map[string]int64{}, map[string]int64{}}
	var table string
	var whole, byKey int64
	if _, err := pgx.ForEachRow(rows, []any{&table, &whole, &byKey}, func() error {
		counted.whole[table], counted.byKey[table] = whole, byKey
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return counted
}

func prepareAccounts(t *testing.T, db *pgtest.DB) {
	t.Helper()
	execute(t, db.Pool, `INSERT INTO merchants (id, name) VALUES (1, 'one')`)
	execute(t, db.Pool, `
		INSERT INTO accounts (merchant_id, id, currency, overdraft_limit)
		VALUES (1, 'world', 'USD', NULL), (1, 'shop', 'USD', 0)`)
}

func newService(t *testing.T, pools *postgres.Pools) *payments.Service {
	t.Helper()
	return payments.New(payments.Config{
		Pools: pools, Retention: time.Hour, Workers: 1, BatchSizeMax: 512, QueueSizeMax: 1000,
		Timeout: 10 * time.Second, Logger: slog.New(slog.DiscardHandler),
	})
}

// chargeWith makes the service run every statement that it has: fresh, replayed,
// declined and refused charges, with references that are free, taken, and freed again.
func chargeWith(t *testing.T, service *payments.Service) {
	t.Helper()
	for i, test := range []struct {
		key, source, destination, reference string
		refused                             bool
	}{
		{"fresh", "world", "shop", "order 1", false},
		{"fresh", "world", "shop", "order 1", false}, // a replay
		{"taken reference", "world", "shop", "order 1", true},
		{"declined", "shop", "world", "order 2", false},
		{"refused", "world", "nobody", "order 3", true},
		{"plain", "world", "shop", "", false},
	} {
		charge := payments.Charge{
			Amount: ledger.Money{Minor: 5, Currency: "USD"}, SourceAccount: test.source,
			DestinationAccount: test.destination,
			Reference:          test.reference,
		}
		if test.key == "declined" {
			charge.Amount.Minor = 1000
		}
		caller := payments.Caller{
			Key: idempotency.Key{
				MerchantID: 1, Scope: idempotency.ScopeClient,
				Value: test.key,
			},
			RequestID: uuid.Must(uuid.NewV7()),
		}
		_, err := service.Charge(context.Background(), caller, charge)
		if _, refused := errors.AsType[*payments.Refusal](err); refused != test.refused ||
			err != nil && !refused {
			t.Fatal(fmt.Sprint("charge ", i, ": ", err))
		}
	}
}
