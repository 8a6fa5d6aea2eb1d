package cards

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/internal/unnest"
)

// booked is an attempt with its payment, as our books have them.
type booked struct {
	ref       attemptRef
	operation string
	state     State
	createdAt time.Time
	minor     int64                 // of the attempt
	refund    payments.RefundStatus // "": it is no refund

	paymentID uuid.UUID
	chargedAt time.Time // when the payment's charge began
	intentID  string    // of that charge; "": not known
	status    payments.Status
	amount    ledger.Money
	captured  ledger.Money
	refunded  int64
	// waitsSince is when the oldest unsettled attempt on the payment began; zero: there
	// is none. Refunds do not count, here and in inReview.
	waitsSince time.Time
	inReview   bool
}

// charges tells whether the attempt is the payment's charge.
func (b *booked) charges() bool {
	return makesIntent(b.operation)
}

// bookedJoins joins the payment, the other attempts and the refund of attempts a. $1 is the
// merchant of all of them, or NULL.
const bookedJoins = `
	CROSS JOIN LATERAL (
		SELECT p.id, p.status, p.amount, p.currency, p.amount_captured, p.amount_refunded
		FROM payments p
		WHERE p.merchant_id = coalesce($1, a.merchant_id) AND p.id = a.payment_id
		OFFSET 0) AS p
	CROSS JOIN LATERAL (
		SELECT max(c.intent_id) FILTER (WHERE c.operation IN ('charge', 'authorize')) AS intent_id,
			min(c.created_at) AS charged_at,
			min(c.created_at) FILTER (WHERE c.state <> 'settled' AND c.operation <> 'refund')
				AS waits_since,
			coalesce(bool_or(c.state = 'review' AND c.operation <> 'refund'), false) AS in_review
		FROM processor_attempts c
		WHERE c.merchant_id = coalesce($1, a.merchant_id) AND c.payment_id = a.payment_id) AS c
	LEFT JOIN LATERAL (
		SELECT r.status FROM refunds r
		WHERE r.merchant_id = coalesce($1, a.merchant_id) AND r.payment_id = a.payment_id
			AND r.id = a.refund_id
		OFFSET 0) AS r ON true`

const bookedColumns = `a.merchant_id, a.id, a.operation, a.state, a.created_at, a.amount,
	coalesce(r.status, ''), p.id, c.charged_at, coalesce(c.intent_id, ''), p.status, p.amount,
	p.currency, p.amount_captured, p.amount_refunded, c.waits_since, c.in_review`

func scanBooked(row pgx.CollectableRow) (*booked, error) {
	var b booked
	var waitsSince *time.Time
	err := row.Scan(&b.ref.merchantID, &b.ref.id, &b.operation, &b.state, &b.createdAt, &b.minor,
		&b.refund, &b.paymentID, &b.chargedAt, &b.intentID, &b.status, &b.amount.Minor,
		&b.amount.Currency,
		&b.captured.Minor, &b.refunded, &waitsSince, &b.inReview)
	b.captured.Currency = b.amount.Currency
	if waitsSince != nil {
		b.waitsSince = *waitsSince
	}
	return &b, err
}

// readBooked reads attempts by their ids. An id without an attempt is left out.
func (s *Service) readBooked(
	ctx context.Context, refs ...attemptRef,
) (map[attemptRef]*booked, error) {
	books := make(map[attemptRef]*booked, len(refs))
	for _, group := range postgres.ByMerchant(s.sharded, refs, attemptRef.merchant) {
		rows, err := s.pool.Query(ctx, `
			SELECT `+bookedColumns+`
			FROM unnest($2::bigint[], $3::uuid[]) AS wanted (merchant_id, id)
			CROSS JOIN LATERAL (
				SELECT a.merchant_id, a.id, a.operation, a.state, a.created_at, a.amount,
					a.payment_id, a.refund_id
				FROM processor_attempts a
				WHERE a.merchant_id = coalesce($1, wanted.merchant_id) AND a.id = wanted.id
				OFFSET 0) AS a`+bookedJoins, unnest.Shared(group, attemptRef.merchant),
			unnest.Column(group, attemptRef.merchant), unnest.Column(group, attemptRef.bytes))
		if err != nil {
			return nil, fmt.Errorf("reading our books: %w", err)
		}
		found, err := pgx.CollectRows(rows, scanBooked)
		if err != nil {
			return nil, fmt.Errorf("reading our books: %w", err)
		}
		for _, b := range found {
			books[b.ref] = b
		}
	}
	return books, nil
}

// readBookedBefore reads a page of the attempts that began in [since, until), the newest
// first. until and last are the time and the id of the last attempt of the page before.
// It reads only refunds, or all other operations.
func (s *Service) readBookedBefore(
	ctx context.Context, since, until time.Time, last attemptRef, refunds bool, limit int,
) ([]*booked, error) {
	var refs []attemptRef
	batch := &pgx.Batch{}
	batch.Queue(postgres.InIndexOrder)
	batch.Queue(`
		SELECT a.merchant_id, a.id
		FROM processor_attempts a
		WHERE a.created_at >= $1 AND (a.created_at, a.merchant_id, a.id) < ($2, $3, $4)
			AND (a.operation = 'refund') = $5
		ORDER BY a.created_at DESC, a.merchant_id DESC, a.id DESC
		LIMIT $6`,
		since, until, last.merchantID, last.id, refunds, limit,
	).Query(func(rows pgx.Rows) (err error) {
		refs, err = pgx.CollectRows(rows, scanRef)
		return err
	})
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("reading our books: %w", err)
	}
	books, err := s.readBooked(ctx, refs...)
	if err != nil {
		return nil, err
	}
	page := make([]*booked, len(refs))
	for i, ref := range refs {
		page[i] = books[ref]
	}
	return page, nil
}
