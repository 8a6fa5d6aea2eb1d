package webhooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// Secret is what an endpoint's deliveries are signed with.
type Secret struct {
	Text string
	// PreviousValidUntil is until when the one before signs too; zero: it does not.
	PreviousValidUntil time.Time
	Version            int64 // of the endpoint
}

func scanSecret(row pgx.Row) (secret Secret, err error) {
	var until *time.Time
	err = row.Scan(&secret.Text, &secret.Version, &until)
	if until != nil {
		secret.PreviousValidUntil = *until
	}
	return secret, err
}

// Secret reads the secret of an endpoint.
func (s *Service) Secret(ctx context.Context, ref Ref) (Secret, error) {
	secret, err := scanSecret(s.pool.QueryRow(ctx, `
		SELECT secret, version,
			CASE WHEN previous_valid_until > clock_timestamp() THEN previous_valid_until END
		FROM webhook_endpoints
		WHERE merchant_id = $1 AND id = $2`, ref.MerchantID, ref.ID))
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Secret{}, ErrNotFound
	case err != nil:
		return Secret{}, fmt.Errorf("reading a webhook secret: %w", err)
	}
	return secret, nil
}

// Rotate makes a new secret. The one before signs too for a while.
func (s *Service) Rotate(
	ctx context.Context, ref Ref, condition IfVersion,
) (secret Secret, err error) {
	if condition == 0 {
		if _, err := s.Get(ctx, ref); err != nil {
			return Secret{}, err
		}
		return Secret{}, ErrVersionRequired
	}
	err = postgres.Confirm(ctx, s.pool, func(conn *pgx.Conn) (err error) {
		secret, err = scanSecret(conn.QueryRow(ctx, `
			UPDATE webhook_endpoints
			SET secret = $3, previous_secret = secret, version = version + 1,
				previous_valid_until = statement_timestamp() + $4::interval
			WHERE merchant_id = $1 AND id = $2 AND ($5::bigint <= 0 OR version = $5)
			RETURNING secret, version, previous_valid_until`,
			ref.MerchantID, ref.ID, newSecret(), rotationPeriod, int64(condition)))
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			if _, err := get(ctx, conn, ref); err != nil {
				return err
			}
			return ErrVersionMismatch
		case err != nil:
			return fmt.Errorf("rotating a webhook secret: %w", err)
		}
		return nil
	})
	return secret, err
}
