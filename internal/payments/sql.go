package payments

import (
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// The Queue functions queue a statement on a pipelined batch of somebody's transaction; they never commit.

func queuePayments(b *pgx.Batch, payments []*Payment, keys []string) {
	n := len(payments)
	merchants, ids, statuses := make([]int64, n), make([][16]byte, n), make([]string, n)
	amounts, currencies := make([]int64, n), make([]string, n)
	sources, destinations := make([]string, n), make([]string, n)
	captured, declines := make([]int64, n), make([]*string, n)
	names, descriptions, metadata := make([]*string, n), make([]string, n), make([]string, n)
	until := make([]*time.Time, n)
	for i, p := range payments {
		merchants[i], ids[i], statuses[i] = p.MerchantID, p.ID, string(p.Status)
		amounts[i], currencies[i] = p.Amount.Minor, string(p.Amount.Currency)
		sources[i], destinations[i] = p.SourceAccount, p.DestinationAccount
		captured[i], declines[i] = p.AmountCaptured, nullable(p.DeclineCode)
		names[i], descriptions[i], metadata[i] = nullable(p.Reference), p.Description, metadataJSON(p.Metadata)
		until[i] = nullable(p.AuthorizedUntil)
	}
	b.Queue(`
		INSERT INTO payments (merchant_id, id, status, amount, currency, source_account, destination_account,
			amount_captured, decline_code, reference, description, metadata, authorized_until, idempotency_key, created_at)
		SELECT p.merchant_id, p.id, p.status, p.amount, p.currency, p.source_account, p.destination_account,
			p.amount_captured, p.decline_code, p.reference, p.description, p.metadata::jsonb, p.authorized_until, p.idempotency_key, $15
		FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[],
				$8::bigint[], $9::text[], $10::text[], $11::text[], $12::text[], $13::timestamptz[], $14::text[])
			AS p (merchant_id, id, status, amount, currency, source_account, destination_account,
				amount_captured, decline_code, reference, description, metadata, authorized_until, idempotency_key)`,
		merchants, ids, statuses, amounts, currencies, sources, destinations,
		captured, declines, names, descriptions, metadata, until, keys, payments[0].CreatedAt)
}

// nullable is nil for the zero value, which Go has where a column has NULL.
func nullable[T comparable](value T) *T {
	var zero T
	if value == zero {
		return nil
	}
	return &value
}

// queueLockPayments locks the payments, ascending, and hands them over as they are once every earlier holder has finished.
// Those that do not exist are left out. It filters on the key alone and reads only the locked row, like ledger.QueueLock.
func queueLockPayments(b *pgx.Batch, wanted []paymentRef, locked func(map[paymentRef]*Payment)) {
	merchants, ids := make([]int64, len(wanted)), make([][16]byte, len(wanted))
	for i, ref := range wanted {
		merchants[i], ids[i] = ref.merchantID, ref.id
	}
	b.Queue(`
		SELECT `+paymentColumns+`
		FROM unnest($1::bigint[], $2::uuid[]) AS wanted (merchant_id, id)
		JOIN payments p ON p.merchant_id = wanted.merchant_id AND p.id = wanted.id
		WHERE p.merchant_id = ANY ($1)
		ORDER BY p.merchant_id, p.id
		FOR NO KEY UPDATE OF p`, merchants, ids).Query(func(rows pgx.Rows) error {
		payments, err := pgx.CollectRows(rows, scanPayment)
		if err != nil {
			return fmt.Errorf("locking payments: %w", err)
		}
		byRef := make(map[paymentRef]*Payment, len(payments))
		for _, p := range payments {
			byRef[paymentRef{p.MerchantID, p.ID}] = p
		}
		locked(byRef)
		return nil
	})
}

// queuePaymentChanges writes what can change about a payment, and nothing else: description and metadata have a door of their
// own.
func queuePaymentChanges(b *pgx.Batch, changed map[paymentRef]*Payment) {
	n := len(changed)
	merchants, ids, statuses := make([]int64, 0, n), make([][16]byte, 0, n), make([]string, 0, n)
	captured, refunded, versions := make([]int64, 0, n), make([]int64, 0, n), make([]int64, 0, n)
	for ref, p := range changed {
		merchants, ids, statuses = append(merchants, ref.merchantID), append(ids, ref.id), append(statuses, string(p.Status))
		captured, refunded = append(captured, p.AmountCaptured), append(refunded, p.AmountRefunded)
		versions = append(versions, p.Version)
	}
	b.Queue(`
		UPDATE payments p
		SET status = changed.status, amount_captured = changed.amount_captured, amount_refunded = changed.amount_refunded,
			version = changed.version
		FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[])
			AS changed (merchant_id, id, status, amount_captured, amount_refunded, version)
		WHERE p.merchant_id = changed.merchant_id AND p.id = changed.id AND p.merchant_id = ANY ($1)`,
		merchants, ids, statuses, captured, refunded, versions)
}

func queueRefunds(b *pgx.Batch, refunds []*Refund, keys []string) {
	n := len(refunds)
	merchants, ids, payments := make([]int64, n), make([][16]byte, n), make([][16]byte, n)
	amounts, statuses, declines, reasons := make([]int64, n), make([]string, n), make([]*string, n), make([]string, n)
	for i, r := range refunds {
		merchants[i], ids[i], payments[i] = r.MerchantID, r.ID, r.PaymentID
		amounts[i], statuses[i], declines[i], reasons[i] = r.Amount.Minor, string(r.Status), nullable(r.DeclineCode), r.Reason
	}
	b.Queue(`
		INSERT INTO refunds (merchant_id, payment_id, id, amount, status, decline_code, reason, idempotency_key, created_at)
		SELECT r.merchant_id, r.payment_id, r.id, r.amount, r.status, r.decline_code, r.reason, r.idempotency_key, $9
		FROM unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[])
			AS r (merchant_id, payment_id, id, amount, status, decline_code, reason, idempotency_key)`,
		merchants, payments, ids, amounts, statuses, declines, reasons, keys, refunds[0].CreatedAt)
}

// queueReferenceClaims claims names for payments and adds those that it got to claimed. A name that an unfinished transaction
// has claimed is waited for; one that a live payment holds is left out.
func queueReferenceClaims(b *pgx.Batch, wanted, claimed references) {
	merchants, names, ids := referenceColumns(wanted)
	b.Queue(`
		INSERT INTO payment_references (merchant_id, reference, payment_id)
		SELECT r.merchant_id, r.reference, r.payment_id
		FROM unnest($1::bigint[], $2::text[], $3::uuid[]) AS r (merchant_id, reference, payment_id)
		ORDER BY r.merchant_id, r.reference COLLATE "C"
		ON CONFLICT (merchant_id, reference) DO NOTHING
		RETURNING merchant_id, reference, payment_id`, merchants, names, ids).Query(func(rows pgx.Rows) error {
		return collectReferences(rows, claimed)
	})
}

// queueReferenceHolders reads which payments hold the names, and adds them to holders.
func queueReferenceHolders(b *pgx.Batch, names []reference, holders references) {
	merchants, texts := make([]int64, len(names)), make([]string, len(names))
	for i, name := range names {
		merchants[i], texts[i] = name.merchantID, name.name
	}
	b.Queue(`
		SELECT r.merchant_id, r.reference, r.payment_id
		FROM unnest($1::bigint[], $2::text[]) AS wanted (merchant_id, reference)
		JOIN payment_references r ON r.merchant_id = wanted.merchant_id AND r.reference = wanted.reference
		WHERE r.merchant_id = ANY ($1)`, merchants, texts).Query(func(rows pgx.Rows) error {
		return collectReferences(rows, holders)
	})
}

// queueReferenceMoves gives names to the payments that hold them in the end.
func queueReferenceMoves(b *pgx.Batch, moved references) {
	merchants, names, ids := referenceColumns(moved)
	b.Queue(`
		UPDATE payment_references r
		SET payment_id = moved.payment_id
		FROM unnest($1::bigint[], $2::text[], $3::uuid[]) AS moved (merchant_id, reference, payment_id)
		WHERE r.merchant_id = moved.merchant_id AND r.reference = moved.reference AND r.merchant_id = ANY ($1)`,
		merchants, names, ids)
}

// queueReferenceRelease frees names that nobody holds.
func queueReferenceRelease(b *pgx.Batch, freed []reference) {
	merchants, names := make([]int64, len(freed)), make([]string, len(freed))
	for i, name := range freed {
		merchants[i], names[i] = name.merchantID, name.name
	}
	b.Queue(`
		DELETE FROM payment_references r
		USING unnest($1::bigint[], $2::text[]) AS freed (merchant_id, reference)
		WHERE r.merchant_id = freed.merchant_id AND r.reference = freed.reference AND r.merchant_id = ANY ($1)`,
		merchants, names)
}

func referenceColumns(names references) (merchants []int64, texts []string, ids [][16]byte) {
	for name, id := range names {
		merchants, texts, ids = append(merchants, name.merchantID), append(texts, name.name), append(ids, id)
	}
	return merchants, texts, ids
}

func collectReferences(rows pgx.Rows, into references) error {
	var name reference
	var id uuid.UUID
	_, err := pgx.ForEachRow(rows, []any{&name.merchantID, &name.name, &id}, func() error {
		into[name] = id
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading references: %w", err)
	}
	return nil
}
