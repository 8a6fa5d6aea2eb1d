package payments

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// Two transactions that want the same things must want them in the same order, or they
// wait for each other for ever. So each kind is taken ascending, byte by byte: "B"
// before "a". The test holds the first of two things. Whoever takes them in order waits
// for it empty-handed, and the second is still free; whoever does not holds the second
// meanwhile.
func TestLocksAreTakenInOneOrder(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		hold     string // takes the first thing, in the test's own transaction
		wantFree string // takes the second, which must still be free
		batch    func(s *Service, merchant int64) []*operation
	}{
		{
			name: "keys",
			hold: `INSERT INTO idempotency_keys
					(merchant_id, scope, key, operation, fingerprint, fingerprint_version, request_id, payment_id)
				VALUES ($1, 'client', 'B', 'charge', sha256(''), 1, gen_random_uuid(), gen_random_uuid())`,
			wantFree: `INSERT INTO idempotency_keys
					(merchant_id, scope, key, operation, fingerprint, fingerprint_version, request_id, payment_id)
				VALUES ($1, 'client', 'a', 'charge', sha256(''), 1, gen_random_uuid(), gen_random_uuid())`,
			batch: func(_ *Service, merchant int64) []*operation {
				c := Charge{Amount: usd(1), SourceAccount: "world", DestinationAccount: "a"}
				return []*operation{newCharge(callerWith(merchant, "a"), c),
					newCharge(callerWith(merchant, "B"), c)}
			},
		},
		{
			name:     "references",
			hold:     `INSERT INTO payment_references (merchant_id, reference, payment_id) VALUES ($1, 'B', gen_random_uuid())`,
			wantFree: `INSERT INTO payment_references (merchant_id, reference, payment_id) VALUES ($1, 'a', gen_random_uuid())`,
			batch: func(_ *Service, merchant int64) []*operation {
				first := Charge{Amount: usd(1), SourceAccount: "world", DestinationAccount: "a",
					Reference: "a"}
				second := Charge{Amount: usd(1), SourceAccount: "world", DestinationAccount: "a",
					Reference: "B"}
				return []*operation{newCharge(callerWith(merchant, "k1"), first),
					newCharge(callerWith(merchant, "k2"), second)}
			},
		},
		{
			name: "payments",
			hold: `SELECT FROM payments WHERE merchant_id = $1
				AND id = (SELECT id FROM payments WHERE merchant_id = $1 ORDER BY id DESC OFFSET 1 LIMIT 1) FOR UPDATE`,
			wantFree: `SELECT FROM payments WHERE merchant_id = $1
				AND id = (SELECT id FROM payments WHERE merchant_id = $1 ORDER BY id DESC LIMIT 1) FOR UPDATE`,
			batch: func(s *Service, merchant int64) []*operation {
				older := charge(t, s, merchant, "older",
					Charge{Amount: usd(1), SourceAccount: "world", DestinationAccount: "a"})
				newer := charge(t, s, merchant, "newer",
					Charge{Amount: usd(1), SourceAccount: "world", DestinationAccount: "a"})
				return []*operation{
					newRefund(callerWith(merchant, "k1"),
						RefundRequest{PaymentID: newer.PaymentID}),
					newRefund(callerWith(merchant, "k2"),
						RefundRequest{PaymentID: older.PaymentID}),
				}
			},
		},
		{
			name:     "accounts",
			hold:     `SELECT FROM accounts WHERE merchant_id = $1 AND id = 'B' FOR UPDATE`,
			wantFree: `SELECT FROM accounts WHERE merchant_id = $1 AND id = 'a' FOR UPDATE`,
			batch: func(_ *Service, merchant int64) []*operation {
				c := Charge{Amount: usd(1), SourceAccount: "a", DestinationAccount: "B"}
				return []*operation{newCharge(callerWith(merchant, "k1"), c),
					newCharge(callerWith(merchant, "k2"), c)}
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			s := newService(t, db.URL)
			merchant := newMerchant(t, s, map[string]int64{"a": 10, "B": 10})
			batch := test.batch(s, merchant)
			holder, err := db.Pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := holder.Exec(t.Context(), test.hold, merchant); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				done <- s.transact(context.Background(), batch)
			}()
			waitUntilBlocked(t, db, 1)
			wantFree(t, db, test.wantFree, merchant)
			if err := holder.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Errorf("the batch came to %v", err)
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
