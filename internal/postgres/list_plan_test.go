package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// A page of a list costs what it shows, also before ANALYZE. Without statistics the
// planner expects few rows, and would sort them all.
func TestListPageReadsOnlyWhatItShows(t *testing.T) {
	t.Parallel()
	db := pgtest.NewBroken(t) // what is written here has no keys
	prepareAccounts(t, db)
	admin := superuser(t, db.AdminURL)
	execute(t, admin, `SET session_replication_role = replica`)
	const rows = 30_000
	for _, table := range []string{"payments", "entries", "accounts"} {
		execute(t, admin, `ALTER TABLE `+table+` SET (autovacuum_enabled = off)`)
	}
	execute(t, admin, `
		INSERT INTO payments
			(merchant_id, id, status, amount, currency, source_account, destination_account,
			amount_captured, description, metadata, idempotency_key, created_at)
		SELECT 1, ('ffffffff-ffff-7fff-8fff-' || lpad(to_hex(n), 12, '0'))::uuid, 'succeeded',
			1, 'USD', 'world', 'shop', 1, '', '{}', n, now()
		FROM generate_series(1, $1::int) n`, rows)
	execute(t, admin, `
		INSERT INTO entries
			(merchant_id, account_id, sequence, journal_id, payment_id, currency, amount,
			balance_after, at)
		SELECT 1, 'shop', n, gen_random_uuid(), gen_random_uuid(), 'USD', 1, n, now()
		FROM generate_series(1, $1::int) n`, rows)
	execute(t, admin, `
		INSERT INTO accounts (merchant_id, id, currency)
		SELECT 1, 'account-' || n, 'USD' FROM generate_series(1, $1::int) n`, rows)

	pools := open(t, db.URL)
	service := newService(t, pools)
	defer service.Close()
	before := indexReadsOf(t, db)
	ctx, shop := context.Background(), ledger.Ref{MerchantID: 1, AccountID: "shop"}
	const pages, limit = 10, 5 // a prepared statement's plan may change after the fifth time
	for range pages {
		list, err := service.List(ctx, 1, payments.Filter{}, payments.Newest, limit)
		if err != nil || len(list.Payments) != limit {
			t.Fatalf("%d payments, %v", len(list.Payments), err)
		}
		entries, err := ledger.NewAccounts(pools.General).
			Entries(ctx, shop, ledger.NewestEntry, limit)
		if err != nil || len(entries) != limit {
			t.Fatalf("%d entries, %v", len(entries), err)
		}
		if accounts, err := ledger.NewAccounts(pools.General).
			List(ctx, 1, "", limit); err != nil || len(accounts) != limit {
			t.Fatalf("%d accounts, %v", len(accounts), err)
		}
	}
	filtered, err := service.List(ctx, 1, payments.Filter{Account: "nobody"}, payments.Newest,
		limit)
	if err != nil || len(filtered.Payments) != 0 || filtered.Next == nil {
		t.Fatalf("%+v, %v", filtered, err)
	}
	pools.General.Close() // a backend reports its counts when it ends

	var read map[string]int64
	await.Until(t, 10*time.Second, "the server has counted", func() bool {
		read = indexReadsOf(t, db)
		for table := range read {
			read[table] -= before[table]
		}
		return read["payments"] > 0 && read["entries"] > 0 && read["accounts"] > 0
	})
	const shown = pages * (limit + 1)
	for table, most := range map[string]int64{
		"payments": shown + 2*10_000, "entries": shown,
		"accounts": shown,
	} {
		if read[table] > most {
			t.Errorf("%d rows of %s were read, where %d are enough", read[table], table, most)
		}
	}
}

// indexReadsOf is how many rows each table's primary key has led to.
func indexReadsOf(t *testing.T, db *pgtest.DB) map[string]int64 {
	t.Helper()
	counts := map[string]int64{}
	for _, table := range []string{"payments", "entries", "accounts"} {
		counts[table] = read[int64](t, db.Pool, `
			SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = $1`, table+"_pkey")
	}
	return counts
}
