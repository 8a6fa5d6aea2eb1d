package payments

import (
	"context"
	"fmt"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
)

// What changes without a key is idempotent by its method, and acknowledged as strictly as what has one. A COMMIT may succeed although
// nobody waited for the standby (see commitAfterAll), so a change that is done is acknowledged by another COMMIT, which has waited; and so
// is a repetition that found it done. Until then it is ErrNotSafeYet.

// PutAccount is ledger.Put, acknowledged.
func (s *Service) PutAccount(
	ctx context.Context, ref ledger.Ref, terms ledger.Terms, version ledger.IfVersion,
) (account ledger.Account, created bool, err error) {
	account, created, err = ledger.Put(ctx, s.pool, ref, terms, version)
	if err != nil {
		return ledger.Account{}, false, err
	}
	if err := s.acknowledge(ctx); err != nil {
		return ledger.Account{}, false, err
	}
	return account, created, nil
}

// CloseAccount is ledger.Close, acknowledged.
func (s *Service) CloseAccount(ctx context.Context, ref ledger.Ref, version ledger.IfVersion) error {
	if err := ledger.Close(ctx, s.pool, ref, version); err != nil {
		return err
	}
	return s.acknowledge(ctx)
}

func (s *Service) acknowledge(ctx context.Context) error {
	if err := s.commitAfterAll(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrNotSafeYet, err)
	}
	return nil
}
