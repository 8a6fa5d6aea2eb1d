package payments

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/unnest"
)

// The queue functions queue a statement on a round trip of the caller's transaction.
// They never commit. With nothing to do they queue nothing.

// queueLockPayments locks the payments, ascending, and returns them as they are once
// every earlier holder has finished. Those that do not exist are left out. The
// statement filters on the key alone and reads only the locked row, like
// ledger.QueueLock.
func queueLockPayments(
	q *pgx.Batch, refs []paymentRef, locking ledger.Locking,
) map[paymentRef]*Payment {
	locked := make(map[paymentRef]*Payment, len(refs))
	if len(refs) == 0 {
		return locked
	}
	q.Queue(`
		SELECT `+paymentColumns+`
		FROM (
			SELECT w.merchant_id, w.id
			FROM unnest($1::bigint[], $2::uuid[]) AS w (merchant_id, id)
			ORDER BY w.merchant_id, w.id) AS wanted
		CROSS JOIN LATERAL (
			SELECT `+paymentColumns+`
			FROM payments p
			WHERE p.merchant_id = coalesce($3, wanted.merchant_id) AND p.id = wanted.id
			FOR NO KEY UPDATE `+string(locking)+`) AS p`,
		unnest.Column(refs, func(r paymentRef) int64 { return r.merchantID }),
		unnest.Column(refs, func(r paymentRef) [16]byte { return r.id }),
		unnest.Shared(refs, func(r paymentRef) int64 { return r.merchantID }),
	).Query(func(rows pgx.Rows) error {
		payments, err := pgx.CollectRows(rows, scanPayment)
		if err != nil {
			return fmt.Errorf("locking payments: %w", err)
		}
		for _, p := range payments {
			locked[paymentRef{p.MerchantID, p.ID}] = p
		}
		return nil
	})
	return locked
}

// queueExistingPayments tells which of the payments exist, locked or not.
func queueExistingPayments(q *pgx.Batch, refs []paymentRef) map[paymentRef]bool {
	existing := make(map[paymentRef]bool, len(refs))
	if len(refs) == 0 {
		return existing
	}
	q.Queue(`
		SELECT wanted.merchant_id, wanted.id
		FROM unnest($1::bigint[], $2::uuid[]) AS wanted (merchant_id, id)
		CROSS JOIN LATERAL (
			SELECT FROM payments p
			WHERE p.merchant_id = coalesce($3, wanted.merchant_id) AND p.id = wanted.id
			OFFSET 0) AS p`,
		unnest.Column(refs, func(r paymentRef) int64 { return r.merchantID }),
		unnest.Column(refs, func(r paymentRef) [16]byte { return r.id }),
		unnest.Shared(refs, func(r paymentRef) int64 { return r.merchantID }),
	).Query(func(rows pgx.Rows) error {
		var ref paymentRef
		_, err := pgx.ForEachRow(rows, []any{&ref.merchantID, (*[16]byte)(&ref.id)}, func() error {
			existing[ref] = true
			return nil
		})
		if err != nil {
			return fmt.Errorf("looking for locked payments: %w", err)
		}
		return nil
	})
	return existing
}

func queuePayments(q *pgx.Batch, created []*Payment, at time.Time) {
	if len(created) == 0 {
		return
	}
	q.Queue(`
		INSERT INTO payments (merchant_id, id, status, amount, currency, source_account,
			destination_account, amount_captured, decline_code, reference, description, metadata,
			authorized_until, idempotency_key, payment_method, created_at)
		SELECT p.merchant_id, p.id, p.status, p.amount, p.currency, p.source_account,
			p.destination_account, p.amount_captured, p.decline_code, p.reference, p.description,
			p.metadata::jsonb, p.authorized_until, p.idempotency_key, p.payment_method,
			$16::timestamptz
		FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::text[],
				$7::text[], $8::bigint[], $9::text[], $10::text[], $11::text[], $12::text[],
				$13::timestamptz[], $14::text[], $15::text[])
			AS p (merchant_id, id, status, amount, currency, source_account, destination_account,
				amount_captured, decline_code, reference, description, metadata, authorized_until,
				idempotency_key, payment_method)`,
		unnest.Column(created, func(p *Payment) int64 { return p.MerchantID }),
		unnest.Column(created, func(p *Payment) [16]byte { return p.ID }),
		unnest.Column(created, func(p *Payment) string { return string(p.Status) }),
		unnest.Column(created, func(p *Payment) int64 { return p.Amount.Minor }),
		unnest.Column(created, func(p *Payment) string { return string(p.Amount.Currency) }),
		unnest.Column(created, func(p *Payment) string { return p.SourceAccount }),
		unnest.Column(created, func(p *Payment) string { return p.DestinationAccount }),
		unnest.Column(created, func(p *Payment) int64 { return p.AmountCaptured }),
		unnest.Column(created, func(p *Payment) *string { return unnest.Nullable(p.DeclineCode) }),
		unnest.Column(created, func(p *Payment) *string { return unnest.Nullable(p.Reference) }),
		unnest.Column(created, func(p *Payment) string { return p.Description }),
		unnest.Column(created, func(p *Payment) string { return metadataJSON(p.Metadata) }),
		unnest.Column(created, func(p *Payment) *time.Time {
			return unnest.Nullable(p.AuthorizedUntil)
		}),
		unnest.Column(created, func(p *Payment) string { return p.key }),
		unnest.Column(created, func(p *Payment) *string {
			return unnest.Nullable(p.PaymentMethod)
		}),
		at)
}

// queueSavedPayments writes what an operation can change about a payment, each payment
// once. Description and metadata are changed elsewhere (Edit).
func queueSavedPayments(q *pgx.Batch, saved map[paymentRef]*Payment) {
	if len(saved) == 0 {
		return
	}
	payments := slices.Collect(maps.Values(saved))
	q.Queue(`
		UPDATE payments p
		SET status = saved.status, amount_captured = saved.amount_captured,
			amount_refunded = saved.amount_refunded, amount_refunding = saved.amount_refunding,
			pending_operation = saved.pending_operation, decline_code = saved.decline_code,
			cancellation_reason = saved.cancellation_reason,
			authorized_until = saved.authorized_until, version = saved.version
		FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[],
				$6::bigint[], $7::text[], $8::text[], $9::text[], $10::timestamptz[],
				$11::bigint[])
			AS saved (merchant_id, id, status, amount_captured, amount_refunded,
				amount_refunding, pending_operation, decline_code, cancellation_reason,
				authorized_until, version)
		CROSS JOIN LATERAL (
			SELECT l.ctid FROM payments l
			WHERE l.merchant_id = coalesce($12, saved.merchant_id) AND l.id = saved.id
			OFFSET 0) AS locked
		WHERE p.merchant_id = coalesce($12, p.merchant_id) AND p.ctid = locked.ctid`,
		unnest.Column(payments, func(p *Payment) int64 { return p.MerchantID }),
		unnest.Column(payments, func(p *Payment) [16]byte { return p.ID }),
		unnest.Column(payments, func(p *Payment) string { return string(p.Status) }),
		unnest.Column(payments, func(p *Payment) int64 { return p.AmountCaptured }),
		unnest.Column(payments, func(p *Payment) int64 { return p.AmountRefunded }),
		unnest.Column(payments, func(p *Payment) int64 { return p.AmountRefunding }),
		unnest.Column(payments, func(p *Payment) *string {
			return unnest.Nullable(p.PendingOperation)
		}),
		unnest.Column(payments, func(p *Payment) *string {
			return unnest.Nullable(p.DeclineCode)
		}),
		unnest.Column(payments, func(p *Payment) *string {
			return unnest.Nullable(p.CancellationReason)
		}),
		unnest.Column(payments, func(p *Payment) *time.Time {
			return unnest.Nullable(p.AuthorizedUntil)
		}),
		unnest.Column(payments, func(p *Payment) int64 { return p.Version }),
		unnest.Shared(payments, func(p *Payment) int64 { return p.MerchantID }))
}

func queueRefunds(q *pgx.Batch, refunds []*Refund, at time.Time) {
	if len(refunds) == 0 {
		return
	}
	q.Queue(`
		INSERT INTO refunds (merchant_id, payment_id, id, amount, status, decline_code, reason,
			idempotency_key, created_at)
		SELECT r.merchant_id, r.payment_id, r.id, r.amount, r.status, r.decline_code, r.reason,
			r.idempotency_key, $9::timestamptz
		FROM unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[], $6::text[],
				$7::text[], $8::text[])
			AS r (merchant_id, payment_id, id, amount, status, decline_code, reason,
				idempotency_key)`,
		unnest.Column(refunds, func(r *Refund) int64 { return r.MerchantID }),
		unnest.Column(refunds, func(r *Refund) [16]byte { return r.PaymentID }),
		unnest.Column(refunds, func(r *Refund) [16]byte { return r.ID }),
		unnest.Column(refunds, func(r *Refund) int64 { return r.Amount.Minor }),
		unnest.Column(refunds, func(r *Refund) string { return string(r.Status) }),
		unnest.Column(refunds, func(r *Refund) *string { return unnest.Nullable(r.DeclineCode) }),
		unnest.Column(refunds, func(r *Refund) string { return r.Reason }),
		unnest.Column(refunds, func(r *Refund) string { return r.key }),
		at)
}
