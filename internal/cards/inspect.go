package cards

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
	"github.com/paymentsvc/paymentsvc/internal/unnest"
)

// Filter chooses attempts that are not settled. A zero field chooses all.
type Filter struct {
	MerchantID int64
	PaymentID  uuid.UUID
	State      State
	Limit      int
}

// paymentOfAttempt looks up the payment of an attempt a.
const paymentOfAttempt = `
	CROSS JOIN LATERAL (
		SELECT p.currency, p.payment_method FROM payments p
		WHERE p.merchant_id = a.merchant_id AND p.id = a.payment_id
		OFFSET 0) AS p`

// Unsettled lists attempts that are not settled, the oldest first. It needs no
// processor.
func Unsettled(ctx context.Context, db postgres.Querier, f Filter) ([]*Attempt, error) {
	if f.MerchantID != 0 && f.PaymentID != (uuid.UUID{}) {
		return unsettledOf(ctx, db, f)
	}
	return collectAttempts(ctx, db, `
		SELECT `+attemptColumns+`
		FROM (
			SELECT o.ctid FROM processor_attempts o WHERE o.state = 'open'
			UNION ALL
			SELECT r.ctid FROM processor_attempts r WHERE r.state = 'review') AS unsettled
		JOIN processor_attempts a ON a.ctid = unsettled.ctid`+paymentOfAttempt+`
		WHERE ($1::bigint = 0 OR a.merchant_id = $1) AND ($2::uuid IS NULL OR a.payment_id = $2)
			AND ($3 = '' OR a.state = $3)
		ORDER BY a.created_at
		LIMIT $4`, f.MerchantID, unnest.Nullable(f.PaymentID), string(f.State), f.Limit)
}

// unsettledOf is Unsettled for one payment of one merchant. The API asks for it often, so
// it reads no attempt of another payment.
func unsettledOf(ctx context.Context, db postgres.Querier, f Filter) ([]*Attempt, error) {
	return collectAttempts(ctx, db, `
		SELECT `+attemptColumns+`
		FROM processor_attempts a
		JOIN payments p ON p.merchant_id = a.merchant_id AND p.id = a.payment_id
		WHERE a.merchant_id = $1 AND a.payment_id = $2 AND a.state <> 'settled'
			AND ($3 = '' OR a.state = $3)
		ORDER BY a.created_at
		LIMIT $4`, f.MerchantID, f.PaymentID, string(f.State), f.Limit)
}

// Find reads an attempt whose merchant is not known, or returns ErrNoAttempt. It looks
// it up by the primary key, once for each merchant.
func Find(ctx context.Context, db postgres.Querier, id uuid.UUID) (*Attempt, error) {
	return only(collectAttempts(ctx, db, `
		SELECT `+attemptColumns+`
		FROM merchants m
		CROSS JOIN LATERAL (
			SELECT f.ctid FROM processor_attempts f
			WHERE f.merchant_id = m.id AND f.id = $1
			OFFSET 0) AS found
		JOIN processor_attempts a ON a.ctid = found.ctid`+paymentOfAttempt, id))
}

// Look retrieves the attempt's intent and its refunds from the processor. The intent is
// nil if its id is not known.
func (s *Service) Look(
	ctx context.Context, a *Attempt,
) (*stripe.Intent, []stripe.Refund, error) {
	if a.IntentID == "" {
		return nil, nil, nil
	}
	intent, err := s.processor.Retrieve(ctx, a.IntentID)
	if err != nil {
		return nil, nil, err
	}
	refunds, err := s.processor.Refunds(ctx, a.IntentID)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the refunds: %w", err)
	}
	return &intent, refunds, nil
}
