package payments

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// What a merchant does not have.
var (
	ErrNotFound       = errors.New("there is no such payment")
	ErrRefundNotFound = errors.New("the payment has no such refund")
)

const paymentColumns = `p.merchant_id, p.id, p.status, p.amount, p.currency, p.source_account,
	coalesce(p.payment_method, '') AS payment_method, p.destination_account, p.amount_captured,
	p.amount_refunded, p.amount_refunding, coalesce(p.pending_operation, '') AS pending_operation,
	coalesce(p.decline_code, '') AS decline_code,
	coalesce(p.cancellation_reason, '') AS cancellation_reason,
	coalesce(p.reference, '') AS reference, p.description, p.metadata,
	p.authorized_until, p.idempotency_key, p.version, p.created_at`

func scanPayment(row pgx.CollectableRow) (*Payment, error) {
	var p Payment
	var until *time.Time
	err := row.Scan(&p.MerchantID, &p.ID, &p.Status, &p.Amount.Minor, &p.Amount.Currency,
		&p.SourceAccount, &p.PaymentMethod, &p.DestinationAccount, &p.AmountCaptured,
		&p.AmountRefunded, &p.AmountRefunding, &p.PendingOperation, &p.DeclineCode,
		&p.CancellationReason, &p.Reference, &p.Description, &p.Metadata, &until, &p.key,
		&p.Version, &p.CreatedAt)
	if until != nil {
		p.AuthorizedUntil = *until
	}
	return &p, err
}

// Get reads a payment as it is now, or returns ErrNotFound.
func (s *Service) Get(ctx context.Context, merchantID int64, id uuid.UUID) (*Payment, error) {
	return findOne(ctx, s.pool, `
		SELECT `+paymentColumns+`
		FROM payments p
		WHERE p.merchant_id = $1 AND p.id = $2`, merchantID, id)
}

// findOne runs a statement that returns one payment, or none: ErrNotFound.
func findOne(ctx context.Context, db postgres.Querier, sql string, args ...any) (*Payment, error) {
	rows, err := db.Query(ctx, sql, args...)
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

// Refunds reads up to limit of a payment's refunds, newest first, below the id before;
// Newest is above all. It returns ErrNotFound if there is no such payment.
func (s *Service) Refunds(
	ctx context.Context, merchantID int64, paymentID, before uuid.UUID, limit int,
) ([]*Refund, error) {
	if _, err := s.Get(ctx, merchantID, paymentID); err != nil {
		return nil, err
	}
	return s.refunds(ctx, `
		SELECT `+refundColumns+`
		FROM refunds r
		JOIN payments p ON p.merchant_id = r.merchant_id AND p.id = r.payment_id
		WHERE r.merchant_id = $1 AND r.payment_id = $2 AND r.id < $3
		ORDER BY r.id DESC
		LIMIT $4`, merchantID, paymentID, before, limit)
}

// GetRefund reads one refund of a payment, or returns ErrRefundNotFound.
func (s *Service) GetRefund(
	ctx context.Context, merchantID int64, paymentID, id uuid.UUID,
) (*Refund, error) {
	refunds, err := s.refunds(ctx, `
		SELECT `+refundColumns+`
		FROM refunds r
		JOIN payments p ON p.merchant_id = r.merchant_id AND p.id = r.payment_id
		WHERE r.merchant_id = $1 AND r.payment_id = $2 AND r.id = $3`, merchantID, paymentID, id)
	switch {
	case err != nil:
		return nil, err
	case len(refunds) == 0:
		return nil, ErrRefundNotFound
	}
	return refunds[0], nil
}

const refundColumns = `r.merchant_id, r.id, r.payment_id, r.amount, p.currency, r.status,
	coalesce(r.decline_code, ''), r.reason, r.created_at`

func scanRefund(row pgx.CollectableRow) (*Refund, error) {
	var r Refund
	err := row.Scan(&r.MerchantID, &r.ID, &r.PaymentID, &r.Amount.Minor, &r.Amount.Currency,
		&r.Status, &r.DeclineCode, &r.Reason, &r.CreatedAt)
	return &r, err
}

func (s *Service) refunds(ctx context.Context, sql string, args ...any) ([]*Refund, error) {
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("reading refunds: %w", err)
	}
	refunds, err := pgx.CollectRows(rows, scanRefund)
	if err != nil {
		return nil, fmt.Errorf("reading refunds: %w", err)
	}
	return refunds, nil
}
