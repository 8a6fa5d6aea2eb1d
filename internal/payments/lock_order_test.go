package payments

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/pgtest"
)

// Two transactions that want the same things must want them in the same order, or they wait for each other for ever. So each
// kind is taken ascending, byte by byte: "B" before "a". The test holds the first of two things. Whoever takes them in order
// waits for it empty-handed, and the second is still free; whoever does not holds the second meanwhile.
func TestLocksAreTakenInOneOrder(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name          string
		hold          string // takes the first thing, in the test's own transaction
		wantFree      string // takes the second, which must still be free
		first, second Charge // of one batch
		keys          [2]string
	}{
		{
			name: "keys",
			hold: `INSERT INTO idempotency_keys
					(merchant_id, scope, key, operation, fingerprint, fingerprint_version, request_id, payment_id)
				VALUES ($1, 'client', 'B', 'charge', sha256(''), 1, gen_random_uuid(), gen_random_uuid())`,
			wantFree: `INSERT INTO idempotency_keys
					(merchant_id, scope, key, operation, fingerprint, fingerprint_version, request_id, payment_id)
				VALUES ($1, 'client', 'a', 'charge', sha256(''), 1, gen_random_uuid(), gen_random_uuid())`,
			first:  Charge{Amount: usd(1), SourceAccount: "world", DestinationAccount: "a"},
			second: Charge{Amount: usd(1), SourceAccount: "world", DestinationAccount: "a"},
			keys:   [2]string{"a", "B"},
		},
		{
			name:     "references",
			hold:     `INSERT INTO payment_references (merchant_id, reference, payment_id) VALUES ($1, 'B', gen_random_uuid())`,
			wantFree: `INSERT INTO payment_references (merchant_id, reference, payment_id) VALUES ($1, 'a', gen_random_uuid())`,
			first:    Charge{Amount: usd(1), SourceAccount: "world", DestinationAccount: "a", Reference: "a"},
			second:   Charge{Amount: usd(1), SourceAccount: "world", DestinationAccount: "a", Reference: "B"},
			keys:     [2]string{"k1", "k2"},
		},
		{
			name:     "accounts",
			hold:     `SELECT FROM accounts WHERE merchant_id = $1 AND id = 'B' FOR UPDATE`,
			wantFree: `SELECT FROM accounts WHERE merchant_id = $1 AND id = 'a' FOR UPDATE`,
			first:    Charge{Amount: usd(1), SourceAccount: "a", DestinationAccount: "B"},
			second:   Charge{Amount: usd(1), SourceAccount: "a", DestinationAccount: "B"},
			keys:     [2]string{"k1", "k2"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			s := newService(t, db.URL)
			merchant := newMerchant(t, s, map[string]int64{"a": 10, "B": 10})
			holder, err := db.Pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := holder.Exec(t.Context(), test.hold, merchant); err != nil {
				t.Fatal(err)
			}
			charged := make(chan error, 1)
			go func() {
				_, err := s.transact(context.Background(), []*operation{
					newCharge(callerWith(merchant, test.keys[0]), test.first), newCharge(callerWith(merchant, test.keys[1]), test.second),
				})
				charged <- err
			}()
			waitUntilBlocked(t, db, 1)
			wantFree(t, db, test.wantFree, merchant)
			if err := holder.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-charged; err != nil {
				t.Errorf("charging: %v", err)
			}
		})
	}
}

// waitUntilBlocked returns once that many money transactions wait for a lock.
func waitUntilBlocked(t *testing.T, db *pgtest.DB, n int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		var blocked int
		if err := db.Pool.QueryRow(t.Context(), `
			SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'paymentsvc-money' AND wait_event_type = 'Lock'`,
		).Scan(&blocked); err != nil {
			t.Fatal(err)
		}
		if blocked >= n {
			return
		}
	}
}

// wantFree takes a thing, and gives it back.
func wantFree(t *testing.T, db *pgtest.DB, take string, merchant int64) {
	t.Helper()
	tx, err := db.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	if _, err := tx.Exec(t.Context(), `SET LOCAL lock_timeout = '100ms'`); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), take, pgx.QueryExecModeExec, merchant); err != nil {
		t.Errorf("the second is held while the first is waited for: %v", err)
	}
}
