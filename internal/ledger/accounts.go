package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// Accounts reads and changes accounts for their owners. No money moves here: money
// moves in the transaction of a payment, on a Book.
//
// What changes here has no key. It is idempotent by its method: the same call again has
// no further effect. It is acknowledged as strictly as a payment: see postgres.Confirm
// and its ErrNotConfirmed.
type Accounts struct{ pool *pgxpool.Pool }

// NewAccounts works on the connections of pool.
func NewAccounts(pool *pgxpool.Pool) *Accounts { return &Accounts{pool} }

// Put creates the account under the id that its owner chose, or replaces its terms. The
// same call again does not move the version. Only an unconditional call creates an
// account, and only a conditional one opens a closed account.
func (a *Accounts) Put(
	ctx context.Context, ref Ref, terms Terms, condition IfVersion,
) (account Account, created bool, err error) {
	if err := checkOwner(ref); err != nil {
		return Account{}, false, err
	}
	if err := terms.check(); err != nil {
		return Account{}, false, err
	}
	if terms.Status != nil && condition == Unconditional {
		return Account{}, false, ErrVersionRequired
	}
	err = postgres.Confirm(ctx, a.pool, func(conn *pgx.Conn) (err error) {
		account, created, err = put(ctx, conn, ref, terms, condition)
		return err
	})
	return account, created, err
}

// put is one upsert, which decides. The row is read again only to say why it was
// refused.
func put(
	ctx context.Context, conn *pgx.Conn, ref Ref, terms Terms, condition IfVersion,
) (account Account, created bool, err error) {
	row := conn.QueryRow(ctx, `
		INSERT INTO accounts (merchant_id, id, currency, overdraft_limit, name, metadata)
		SELECT $1::bigint, $2::text, $3::text, $4::bigint, $5::text, $6::jsonb
		WHERE $7::bigint = 0 OR EXISTS (SELECT FROM accounts WHERE merchant_id = $1 AND id = $2)
		ON CONFLICT (merchant_id, id) DO UPDATE
		SET status = excluded.status, -- open
			overdraft_limit = excluded.overdraft_limit,
			name = excluded.name,
			metadata = excluded.metadata,
			version = accounts.version
				+ ((accounts.status, accounts.overdraft_limit, accounts.name, accounts.metadata)
					IS DISTINCT FROM (excluded.status, excluded.overdraft_limit, excluded.name,
						excluded.metadata))::int
		WHERE accounts.currency = excluded.currency
			AND (accounts.status = 'open' OR $8)
			AND (excluded.overdraft_limit IS NULL
				OR accounts.balance::numeric - accounts.held >= -excluded.overdraft_limit)
			AND ($7::bigint <= 0 OR accounts.version = $7)
		RETURNING `+accountColumns+`, xmax = 0`, // xmax is 0 on a row that this statement inserted
		ref.MerchantID, ref.AccountID, terms.Currency, terms.OverdraftLimit, terms.Name,
		terms.Metadata, condition, terms.Status != nil)
	err = scanAccount(row, &account, &created)
	if errors.Is(err, pgx.ErrNoRows) {
		return Account{}, false, whyNotPut(ctx, conn, ref, terms, condition)
	}
	if err != nil {
		return Account{}, false, fmt.Errorf("putting account: %w", err)
	}
	return account, created, nil
}

func whyNotPut(
	ctx context.Context, conn *pgx.Conn, ref Ref, terms Terms, condition IfVersion,
) error {
	account, err := get(ctx, conn, ref)
	switch {
	case errors.Is(err, ErrAccountNotFound):
		return ErrNoVersion // only a conditional PUT does not create
	case err != nil:
		return err
	case account.Status == StatusClosed && terms.Status == nil:
		return ErrAccountClosed
	case account.Currency != terms.Currency:
		return ErrCurrencyFixed
	case !condition.Allows(account.Version):
		return ErrVersionMismatch
	default:
		return ErrOverdraftInUse
	}
}

// Close closes an account that is empty. Nothing is deleted: its entries explain the
// balances of others. On an account that is closed already the condition no longer
// matters, because the caller has what it asked for (RFC 9110, section 13.1.1).
func (a *Accounts) Close(ctx context.Context, ref Ref, condition IfVersion) error {
	if err := checkOwner(ref); err != nil {
		if errors.Is(err, ErrInvalidID) {
			return ErrAccountNotFound
		}
		return err
	}
	return postgres.Confirm(ctx, a.pool, func(conn *pgx.Conn) error {
		return closeAccount(ctx, conn, ref, condition)
	})
}

// closeAccount is one UPDATE, which decides. If a charge holds the row, it waits for
// that charge and then looks at the balance again. A charge that comes after it waits
// for the UPDATE, and then finds the account closed.
func closeAccount(ctx context.Context, conn *pgx.Conn, ref Ref, condition IfVersion) error {
	tag, err := conn.Exec(ctx, `
		UPDATE accounts
		SET status = 'closed', version = version + 1
		WHERE merchant_id = $1 AND id = $2 AND status = 'open'
			AND balance = 0 AND held = 0 AND open_payments = 0
			AND ($3::bigint <= 0 OR version = $3)`, ref.MerchantID, ref.AccountID, condition)
	switch {
	case err != nil:
		return fmt.Errorf("closing account: %w", err)
	case tag.RowsAffected() == 0:
		return whyNotClosed(ctx, conn, ref, condition)
	}
	return nil
}

func whyNotClosed(ctx context.Context, conn *pgx.Conn, ref Ref, condition IfVersion) error {
	account, err := get(ctx, conn, ref)
	switch {
	case err != nil:
		return err
	case account.Status == StatusClosed:
		return nil
	case !condition.Allows(account.Version):
		return ErrVersionMismatch
	default:
		return ErrAccountNotEmpty
	}
}

// Get reads an account, or returns ErrAccountNotFound.
func (a *Accounts) Get(ctx context.Context, ref Ref) (Account, error) {
	if !ValidAccountID(ref.AccountID) {
		return Account{}, ErrAccountNotFound
	}
	return get(ctx, a.pool, ref)
}

func get(ctx context.Context, db postgres.Querier, ref Ref) (account Account, err error) {
	row := db.QueryRow(ctx, `
		SELECT `+accountColumns+`
		FROM accounts
		WHERE merchant_id = $1 AND id = $2`, ref.MerchantID, ref.AccountID)
	err = scanAccount(row, &account)
	if errors.Is(err, pgx.ErrNoRows) {
		return Account{}, ErrAccountNotFound
	}
	if err != nil {
		return Account{}, fmt.Errorf("reading account: %w", err)
	}
	return account, nil
}
