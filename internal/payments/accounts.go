package payments

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// What changes without a key is idempotent by its method, and acknowledged as strictly as what has one.

// PutAccount is ledger.Put, confirmed before it is acknowledged; with ErrNotSafeYet it is done, perhaps not for good.
func (s *Service) PutAccount(
	ctx context.Context, ref ledger.Ref, terms ledger.Terms, version ledger.IfVersion,
) (account ledger.Account, created bool, err error) {
	err = s.confirm(ctx, func(conn *pgx.Conn) (err error) {
		account, created, err = ledger.Put(ctx, conn, ref, terms, version)
		return err
	})
	return account, created, err
}

// CloseAccount is ledger.Close, confirmed likewise, also where it finds that the account is closed already.
func (s *Service) CloseAccount(ctx context.Context, ref ledger.Ref, version ledger.IfVersion) error {
	return s.confirm(ctx, func(conn *pgx.Conn) error { return ledger.Close(ctx, conn, ref, version) })
}

// confirm is postgres.Confirm in the service's own terms.
func (s *Service) confirm(ctx context.Context, work func(*pgx.Conn) error) error {
	err := postgres.Confirm(ctx, s.pool, work)
	if errors.Is(err, postgres.ErrOutcomeUnknown) {
		return fmt.Errorf("%w: %w", ErrNotSafeYet, err)
	}
	return err
}
