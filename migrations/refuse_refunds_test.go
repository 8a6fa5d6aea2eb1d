package migrations_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/migrations"
)

// refund gives 2 of payment a001 back under key k2, except for what a document says.
const refund = `
	INSERT INTO refunds (merchant_id, payment_id, id, amount, status, decline_code, reason, idempotency_key, created_at)
	SELECT r.merchant_id, r.payment_id, r.id, r.amount, r.status, r.decline_code, r.reason, r.idempotency_key, r.created_at
	FROM jsonb_populate_record(NULL::refunds, '{"merchant_id": 1, "payment_id": "00000000-0000-7000-8000-00000000a001",
		"id": "00000000-0000-7000-8000-00000000c001", "amount": 2, "status": "succeeded", "reason": "", "idempotency_key": "k2",
		"created_at": "2026-11-02"}'::jsonb || $1) AS r`

// refundClaim is the claim that it needs.
const refundClaim = `{"operation": "refund", "payment_id": "00000000-0000-7000-8000-00000000a001"}`

func TestARefundThatBreaksARuleIsRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db.Pool)
	for _, test := range []struct{ name, claim, refund, code, constraint string }{
		{"of nothing", refundClaim, `{"amount": 0}`, checkFailed, "refunds_amount_range"},
		{"of less than nothing", refundClaim, `{"amount": -1}`, checkFailed, "refunds_amount_range"},
		{"declined without a reason", refundClaim, `{"status": "declined"}`, checkFailed, "refunds_decline_has_a_code"},
		{"with an unknown status", refundClaim, `{"status": "failed"}`, checkFailed, "refunds_status_known"},
		{"with too long a reason", refundClaim, `{"reason": "` + strings.Repeat("ü", 501) + `"}`, checkFailed, "refunds_reason_length"},
		{"under the key of the charge", refundClaim, `{"idempotency_key": "k1"}`, integrityViolation, "refunds_claimed_by_key"},
		{"under a key that nobody claimed", refundClaim, `{"idempotency_key": "k3"}`, integrityViolation, "refunds_claimed_by_key"},
		{
			"under the key of a capture", `{"operation": "capture", "payment_id": "00000000-0000-7000-8000-00000000a001"}`, `{}`,
			integrityViolation, "refunds_claimed_by_key",
		},
		{"under a key of another payment", `{"operation": "refund"}`, `{}`, integrityViolation, "refunds_claimed_by_key"},
		{"of another merchant's payment", refundClaim, `{"merchant_id": 2}`, "23503", "refunds_payment_exists"},
	} {
		t.Run(test.name, func(t *testing.T) {
			asApplication(t, db, func(tx pgx.Tx) {
				execute(t, tx, claim, test.claim)
				_, err := tx.Exec(t.Context(), refund, test.refund)
				wantRefused(t, err, test.code, test.constraint)
			})
		})
	}
	t.Run("a second one under the same key", func(t *testing.T) {
		asApplication(t, db, func(tx pgx.Tx) {
			execute(t, tx, claim, refundClaim)
			execute(t, tx, refund, `{}`)
			_, err := tx.Exec(t.Context(), refund, `{"id": "00000000-0000-7000-8000-00000000c002"}`)
			wantRefused(t, err, "23505", "refunds_one_per_key")
		})
	})
}

// What only this schema can hold would be lost, or come back half, so the way down is closed once there is any of it.
func TestAWayDownThatWouldLoseARefundIsClosed(t *testing.T) {
	t.Parallel()
	db := pgtest.NewBroken(t) // its refund has no entries
	keepBooks(t, db.Pool)
	execute(t, db.Pool, claim, refundClaim)
	execute(t, db.Pool, refund, `{}`)
	if err := migrations.Down(t.Context(), db.URL, int(migrations.Latest)-5); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("going down: %v, want to be told of a backup", err)
	}
}
