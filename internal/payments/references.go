package payments

import (
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/unnest"
)

// reference is the caller's own name for what is paid. One live payment may have it.
type reference struct {
	merchantID int64
	name       string
}

// references are the names that one transaction is about. The transaction claims them
// like keys, looks up the holders of those that are taken, and in the end settles what
// the rows say.
type references struct {
	// rows are the rows of payment_references: those that this transaction has claimed,
	// those of the payments that it has locked, and those that it has looked up.
	rows map[reference]uuid.UUID
	// holders are the live payments that hold a name, as the decisions so far have left
	// it.
	holders map[reference]uuid.UUID
}

func newReferences() references {
	return references{rows: map[reference]uuid.UUID{}, holders: map[reference]uuid.UUID{}}
}

// holder is the payment that holds the name, if any does.
func (r *references) holder(name reference) (uuid.UUID, bool) {
	id, held := r.holders[name]
	return id, held
}

// take gives the name to the payment; "" is no name.
func (r *references) take(name string, payment *Payment) {
	if name != "" {
		r.holders[reference{payment.MerchantID, name}] = payment.ID
	}
}

// free takes the payment's name away from it.
func (r *references) free(payment *Payment) {
	delete(r.holders, reference{payment.MerchantID, payment.Reference})
}

// load adds the name of a locked payment. Nobody else can free it.
func (r *references) load(payment *Payment) {
	if payment.Reference != "" && payment.Status.live() {
		r.rows[reference{payment.MerchantID, payment.Reference}] = payment.ID
		r.take(payment.Reference, payment)
	}
}

// claim queues the claim of each operation's name, for the first payment that wants it.
// It waits for an unfinished transaction that has claimed the name. A name that a live
// payment holds is left out.
func (r *references) claim(q *pgx.Batch, operations []*operation) {
	wanted := map[reference]uuid.UUID{}
	for _, op := range operations {
		name := op.referenceName()
		if _, asked := wanted[name]; name.name != "" && !asked {
			wanted[name] = op.claim.PaymentID
		}
	}
	if len(wanted) == 0 {
		return
	}
	merchants, names, ids := columns(wanted)
	q.Queue(`
		INSERT INTO payment_references (merchant_id, reference, payment_id)
		SELECT r.merchant_id, r.reference, r.payment_id
		FROM unnest($1::bigint[], $2::text[], $3::uuid[]) AS r (merchant_id, reference, payment_id)
		ORDER BY r.merchant_id, r.reference COLLATE "C"
		ON CONFLICT (merchant_id, reference) DO NOTHING
		RETURNING merchant_id, reference, payment_id`, merchants, names, ids,
	).Query(func(rows pgx.Rows) error { return collect(rows, r.rows) })
}

// referenceName is the name that the operation claims; its text is empty for none.
func (op *operation) referenceName() reference {
	return reference{op.claim.MerchantID, op.reference}
}

// lookUp queues the reading of the payments that hold the names.
func (r *references) lookUp(q *pgx.Batch, names []reference) {
	if len(names) == 0 {
		return
	}
	q.Queue(`
		SELECT wanted.merchant_id, wanted.reference, taken.payment_id
		FROM unnest($1::bigint[], $2::text[]) AS wanted (merchant_id, reference)
		CROSS JOIN LATERAL (
			SELECT r.payment_id FROM payment_references r
			WHERE r.merchant_id = coalesce($3, wanted.merchant_id)
				AND r.reference = wanted.reference
			OFFSET 0) AS taken`,
		unnest.Column(names, func(r reference) int64 { return r.merchantID }),
		unnest.Column(names, func(r reference) string { return r.name }),
		unnest.Shared(names, func(r reference) int64 { return r.merchantID }),
	).Query(func(rows pgx.Rows) error {
		found := map[reference]uuid.UUID{}
		if err := collect(rows, found); err != nil {
			return err
		}
		maps.Copy(r.rows, found)
		maps.Copy(r.holders, found)
		return nil
	})
}

// settle queues the correction of rows that are no longer true: their operation was
// declined, refused, blocked or a retry, or their payment was canceled. Another payment
// holds the name now, or
// none does. Each such row is this transaction's own, or belongs to a payment that it
// has locked.
func (r *references) settle(q *pgx.Batch) {
	moved := map[reference]uuid.UUID{}
	freed := map[reference]uuid.UUID{}
	for name, before := range r.rows {
		holder, held := r.holder(name)
		switch {
		case !held:
			freed[name] = before
		case holder != before:
			moved[name] = holder
		}
	}
	if len(moved) > 0 {
		merchants, names, ids := columns(moved)
		q.Queue(`
			UPDATE payment_references r
			SET payment_id = moved.payment_id
			FROM unnest($1::bigint[], $2::text[], $3::uuid[])
				AS moved (merchant_id, reference, payment_id)
			CROSS JOIN LATERAL (
				SELECT l.ctid FROM payment_references l
				WHERE l.merchant_id = coalesce($4, moved.merchant_id)
					AND l.reference = moved.reference
				OFFSET 0) AS own
			WHERE r.merchant_id = coalesce($4, r.merchant_id) AND r.ctid = own.ctid`,
			merchants, names, ids, unnest.Shared(merchants, itself))
	}
	if len(freed) > 0 {
		merchants, names, _ := columns(freed)
		q.Queue(`
			DELETE FROM payment_references r
			USING unnest($1::bigint[], $2::text[]) AS freed (merchant_id, reference)
			CROSS JOIN LATERAL (
				SELECT l.ctid FROM payment_references l
				WHERE l.merchant_id = coalesce($3, freed.merchant_id)
					AND l.reference = freed.reference
				OFFSET 0) AS own
			WHERE r.merchant_id = coalesce($3, r.merchant_id) AND r.ctid = own.ctid`,
			merchants, names, unnest.Shared(merchants, itself))
	}
}

func itself(merchantID int64) int64 { return merchantID }

func columns(holders map[reference]uuid.UUID) (merchants []int64, names []string, ids [][16]byte) {
	all := slices.Collect(maps.Keys(holders))
	return unnest.Column(all, func(r reference) int64 { return r.merchantID }),
		unnest.Column(all, func(r reference) string { return r.name }),
		unnest.Column(all, func(r reference) [16]byte { return holders[r] })
}

func collect(rows pgx.Rows, into map[reference]uuid.UUID) error {
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
