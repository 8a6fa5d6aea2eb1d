package cards

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

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

// Unsettled lists attempts that are not settled, the oldest first. It needs no
// processor.
func Unsettled(ctx context.Context, db postgres.Querier, f Filter) ([]*Attempt, error) {
	if f.MerchantID != 0 && f.PaymentID != (uuid.UUID{}) {
		return unsettledOf(ctx, db, f)
	}
	attempts, err := readAll(ctx, db, `
		SELECT a.merchant_id, a.id
		FROM (
			SELECT merchant_id, id, payment_id, state, created_at
			FROM processor_attempts WHERE state = 'open'
			UNION ALL
			SELECT merchant_id, id, payment_id, state, created_at
			FROM processor_attempts WHERE state = 'review') AS a
		WHERE ($1::bigint = 0 OR a.merchant_id = $1) AND ($2::uuid IS NULL OR a.payment_id = $2)
			AND ($3 = '' OR a.state = $3)
		ORDER BY a.created_at
		LIMIT $4`, f.MerchantID, unnest.Nullable(f.PaymentID), string(f.State), f.Limit)
	attempts = slices.DeleteFunc(attempts, func(a *Attempt) bool { // it has changed meanwhile
		return a.State == StateSettled || f.State != "" && a.State != f.State
	})
	slices.SortStableFunc(attempts, func(a, b *Attempt) int {
		return a.CreatedAt.Compare(b.CreatedAt)
	})
	return attempts, err
}

// unsettledOf is Unsettled for one payment of one merchant. The API asks for it often, so
// it reads no attempt of another payment.
func unsettledOf(ctx context.Context, db postgres.Querier, f Filter) ([]*Attempt, error) {
	return collectAttempts(ctx, db, `
		SELECT `+attemptColumns+`
		FROM processor_attempts a`+paymentOfAttempt+`
		WHERE a.merchant_id = $1 AND a.payment_id = $2 AND a.state <> 'settled'
			AND ($3 = '' OR a.state = $3)
		ORDER BY a.created_at
		LIMIT $4`, f.MerchantID, f.PaymentID, string(f.State), f.Limit)
}

// Find reads an attempt whose merchant is not known, or returns ErrNoAttempt. The join
// lets Postgres look it up by the primary key, once for each merchant.
func Find(ctx context.Context, db postgres.Querier, id uuid.UUID) (*Attempt, error) {
	return only(readAll(ctx, db, `
		SELECT a.merchant_id, a.id
		FROM merchants m
		JOIN processor_attempts a ON a.merchant_id = m.id AND a.id = $1`, id))
}

// readAll reads the attempts that the query names. It has a statement for each merchant,
// because in sharded mode a join needs that.
func readAll(
	ctx context.Context, db postgres.Querier, query string, args ...any,
) (attempts []*Attempt, err error) {
	rows, err := db.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("looking for attempts: %w", err)
	}
	refs, err := pgx.CollectRows(rows, scanRef)
	if err != nil {
		return nil, fmt.Errorf("looking for attempts: %w", err)
	}
	for _, group := range postgres.ByMerchant(true, refs, attemptRef.merchant) {
		found, err := collectAttempts(ctx, db, `
			SELECT `+attemptColumns+`
			FROM processor_attempts a`+paymentOfAttempt+`
			WHERE a.merchant_id = $1 AND a.id = ANY ($2)`,
			group[0].merchantID, unnest.Column(group, attemptRef.bytes))
		if err != nil {
			return nil, err
		}
		attempts = append(attempts, found...)
	}
	return attempts, nil
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
