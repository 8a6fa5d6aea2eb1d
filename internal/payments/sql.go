package payments

import (
	"context"
	"errors"
	"fmt"

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
	for i, p := range payments {
		merchants[i], ids[i], statuses[i] = p.MerchantID, p.ID, string(p.Status)
		amounts[i], currencies[i] = p.Amount.Minor, string(p.Amount.Currency)
		sources[i], destinations[i] = p.SourceAccount, p.DestinationAccount
		captured[i], declines[i] = p.AmountCaptured, nullable(p.DeclineCode)
		names[i], descriptions[i], metadata[i] = nullable(p.Reference), p.Description, metadataJSON(p.Metadata)
	}
	b.Queue(`
		INSERT INTO payments (merchant_id, id, status, amount, currency, source_account, destination_account,
			amount_captured, decline_code, reference, description, metadata, idempotency_key, created_at)
		SELECT p.merchant_id, p.id, p.status, p.amount, p.currency, p.source_account, p.destination_account,
			p.amount_captured, p.decline_code, p.reference, p.description, p.metadata::jsonb, p.idempotency_key, $14
		FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[],
				$8::bigint[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[])
			AS p (merchant_id, id, status, amount, currency, source_account, destination_account,
				amount_captured, decline_code, reference, description, metadata, idempotency_key)`,
		merchants, ids, statuses, amounts, currencies, sources, destinations,
		captured, declines, names, descriptions, metadata, keys, payments[0].CreatedAt)
}

func nullable(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// queueReferenceClaims claims names for payments and hands over those that it got. A name that an unfinished transaction
// has claimed is waited for; one that a live payment holds is left out.
func queueReferenceClaims(b *pgx.Batch, wanted map[reference]uuid.UUID, claimed func(map[reference]uuid.UUID)) {
	merchants, names, ids := referenceColumns(wanted)
	b.Queue(`
		INSERT INTO payment_references (merchant_id, reference, payment_id)
		SELECT r.merchant_id, r.reference, r.payment_id
		FROM unnest($1::bigint[], $2::text[], $3::uuid[]) AS r (merchant_id, reference, payment_id)
		ORDER BY r.merchant_id, r.reference COLLATE "C"
		ON CONFLICT (merchant_id, reference) DO NOTHING
		RETURNING merchant_id, reference, payment_id`, merchants, names, ids).Query(func(rows pgx.Rows) error {
		ours := make(map[reference]uuid.UUID, len(wanted))
		err := collectReferences(rows, ours)
		claimed(ours)
		return err
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

// queueReferenceMoves gives names that this transaction claimed to the payments that hold them in the end.
func queueReferenceMoves(b *pgx.Batch, moved map[reference]uuid.UUID) {
	merchants, names, ids := referenceColumns(moved)
	b.Queue(`
		UPDATE payment_references r
		SET payment_id = moved.payment_id
		FROM unnest($1::bigint[], $2::text[], $3::uuid[]) AS moved (merchant_id, reference, payment_id)
		WHERE r.merchant_id = moved.merchant_id AND r.reference = moved.reference AND r.merchant_id = ANY ($1)`,
		merchants, names, ids)
}

// queueReferenceRelease frees names that this transaction claimed and nobody holds.
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

func referenceColumns(names map[reference]uuid.UUID) (merchants []int64, texts []string, ids [][16]byte) {
	for name, id := range names {
		merchants, texts, ids = append(merchants, name.merchantID), append(texts, name.name), append(ids, id)
	}
	return merchants, texts, ids
}

func collectReferences(rows pgx.Rows, into map[reference]uuid.UUID) error {
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

// ErrNotFound means that the merchant has no such payment.
var ErrNotFound = errors.New("there is no such payment")

const paymentColumns = `p.merchant_id, p.id, p.status, p.amount, p.currency, p.source_account, p.destination_account,
	p.amount_captured, p.amount_refunded, coalesce(p.decline_code, ''), coalesce(p.reference, ''), p.description, p.metadata,
	p.version, p.created_at`

func scanPayment(row pgx.CollectableRow) (*Payment, error) {
	var p Payment
	err := row.Scan(&p.MerchantID, &p.ID, &p.Status, &p.Amount.Minor, &p.Amount.Currency, &p.SourceAccount,
		&p.DestinationAccount, &p.AmountCaptured, &p.AmountRefunded, &p.DeclineCode, &p.Reference, &p.Description, &p.Metadata,
		&p.Version, &p.CreatedAt)
	return &p, err
}

// Get reads a payment as it is now.
func (s *Service) Get(ctx context.Context, merchantID int64, id uuid.UUID) (*Payment, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+paymentColumns+` FROM payments p WHERE p.merchant_id = $1 AND p.id = $2`, merchantID, id)
	if err != nil {
		return nil, fmt.Errorf("reading a payment: %w", err)
	}
	payment, err := pgx.CollectExactlyOneRow(rows, scanPayment)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, ErrNotFound
	case err != nil:
		return nil, fmt.Errorf("reading a payment: %w", err)
	}
	return payment, nil
}
