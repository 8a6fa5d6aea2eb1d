package payments

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

const (
	claimKey = `
		INSERT INTO idempotency_keys
			(merchant_id, scope, key, operation, fingerprint, fingerprint_version, request_id,
			payment_id)
		SELECT $1, 'client', key, 'charge', sha256(''), 1, gen_random_uuid(), gen_random_uuid()
		FROM (VALUES ('KEY')) AS k (key)`
	claimReference = `
		INSERT INTO payment_references (merchant_id, reference, payment_id)
		VALUES ($1, 'KEY', gen_random_uuid())`
	lockAccount = `SELECT FROM accounts WHERE merchant_id = $1 AND id = 'KEY' FOR UPDATE`
	lockAttempt = `
		SELECT FROM processor_attempts
		WHERE merchant_id = $1 AND id = (
			SELECT id FROM processor_attempts WHERE merchant_id = $1
			ORDER BY id OFFSET KEY LIMIT 1)
		FOR UPDATE`
	lockPayment = `
		SELECT FROM payments
		WHERE merchant_id = $1 AND id = (
			SELECT id FROM payments WHERE merchant_id = $1 ORDER BY id DESC OFFSET KEY LIMIT 1)
		FOR UPDATE`
)

var oneCent = Charge{Amount: usd(1), SourceAccount: "world", DestinationAccount: "a"}

// Transactions that lock the same rows in the same order cannot deadlock. So each kind
// of row is locked in ascending byte order: "B" before "a". The test holds the first of
// two rows, and a batch names both in the wrong order. While the batch waits for the
// first row, the second must still be free.
func TestLocksAreTakenInOneOrder(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		hold     string // locks the first row
		wantFree string // locks the second row
		batch    func(s *Service, merchant int64) []*operation
	}{
		{
			name:     "keys",
			hold:     strings.Replace(claimKey, "KEY", "B", 1),
			wantFree: strings.Replace(claimKey, "KEY", "a", 1),
			batch: func(_ *Service, merchant int64) []*operation {
				return []*operation{
					newCharge(callerWith(merchant, "a"), oneCent),
					newCharge(callerWith(merchant, "B"), oneCent),
				}
			},
		},
		{
			name:     "references",
			hold:     strings.Replace(claimReference, "KEY", "B", 1),
			wantFree: strings.Replace(claimReference, "KEY", "a", 1),
			batch: func(_ *Service, merchant int64) []*operation {
				first, second := oneCent, oneCent
				first.Reference, second.Reference = "a", "B"
				return []*operation{
					newCharge(callerWith(merchant, "k1"), first),
					newCharge(callerWith(merchant, "k2"), second),
				}
			},
		},
		{
			name:     "attempts",
			hold:     strings.Replace(lockAttempt, "KEY", "0", 1),
			wantFree: strings.Replace(lockAttempt, "KEY", "1", 1),
			batch:    settlementsInDescendingOrder,
		},
		{
			name:     "attempts before payments",
			hold:     strings.Replace(lockAttempt, "KEY", "0", 1),
			wantFree: strings.Replace(lockPayment, "KEY", "0", 1),
			batch:    settlementsInDescendingOrder,
		},
		{
			name:     "payments",
			hold:     strings.Replace(lockPayment, "KEY", "1", 1),
			wantFree: strings.Replace(lockPayment, "KEY", "0", 1),
			batch: func(s *Service, merchant int64) []*operation {
				older := charge(t, s, merchant, "older", oneCent)
				newer := charge(t, s, merchant, "newer", oneCent)
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
			hold:     strings.Replace(lockAccount, "KEY", "B", 1),
			wantFree: strings.Replace(lockAccount, "KEY", "a", 1),
			batch: func(_ *Service, merchant int64) []*operation {
				c := Charge{Amount: usd(1), SourceAccount: "a", DestinationAccount: "B"}
				return []*operation{
					newCharge(callerWith(merchant, "k1"), c),
					newCharge(callerWith(merchant, "k2"), c),
				}
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			s := newService(t, db.URL)
			merchant := newMerchant(t, s, map[string]int64{"a": 10, "B": 10})
			batch := test.batch(s, merchant)
			release := hold(t, db, test.hold, merchant)
			done := make(chan error, 1)
			go func() { done <- s.transact(context.Background(), batch) }()
			waitUntilBlocked(t, db, 1)
			wantFree(t, db, test.wantFree, merchant)
			release()
			if err := <-done; err != nil {
				t.Errorf("the batch came to %v", err)
			}
		})
	}
}

// settlementsInDescendingOrder settles two attempts, the second one first.
func settlementsInDescendingOrder(s *Service, merchant int64) []*operation {
	ctx := context.Background()
	var attempts []Settlement
	c := cardToB(1)
	c.DestinationAccount = "a"
	for _, key := range []string{"one", "two"} {
		_, err := s.Charge(ctx, callerWith(merchant, key), c)
		pending, ok := errors.AsType[*InProgress](err)
		if !ok {
			panic(err)
		}
		attempts = append(attempts, Settlement{
			MerchantID: merchant, AttemptID: pending.AttemptID, PaymentID: pending.PaymentID,
			Token: 1, Status: StatusSucceeded,
		})
	}
	slices.SortFunc(attempts, func(a, b Settlement) int {
		return bytes.Compare(b.AttemptID[:], a.AttemptID[:])
	})
	return []*operation{newSettle(attempts[0]), newSettle(attempts[1])}
}

// hold locks rows until release.
func hold(t *testing.T, db *pgtest.DB, lock string, args ...any) (release func()) {
	t.Helper()
	holder, err := db.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holder.Exec(t.Context(), lock, args...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { holder.Rollback(context.Background()) }) // if the test failed
	return func() {
		t.Helper()
		if err := holder.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// waitUntilBlocked returns once n money transactions wait for a lock.
func waitUntilBlocked(t *testing.T, db *pgtest.DB, n int) {
	t.Helper()
	await.Until(t, 10*time.Second, "money transactions wait for a lock", func() bool {
		var blocked int
		if err := db.Pool.QueryRow(t.Context(), `
			SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'paymentsvc-money'
				AND wait_event_type = 'Lock'`).Scan(&blocked); err != nil {
			t.Fatal(err)
		}
		return blocked >= n
	})
}

// wantFree locks a row, and lets go of it.
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
		t.Errorf("the batch locked the second row before the first: %v", err)
	}
}
