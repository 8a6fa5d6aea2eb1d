package ledger

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
)

// Status of an account. A closed one takes part in no new payment.
type Status string

// The statuses that the schema knows.
const (
	StatusOpen   Status = "open"
	StatusClosed Status = "closed"
)

// Reasons for which an account is not changed.
var (
	ErrAccountNotFound = errors.New("there is no such account")
	ErrCurrencyFixed   = errors.New("an account's currency never changes")
	ErrOverdraftInUse  = errors.New("the account is further below zero than the new overdraft limit allows")
	ErrAccountClosed   = errors.New("the account is closed")
	ErrAccountNotEmpty = errors.New("the account has money, or payments from it or to it are open")
	ErrVersionMismatch = errors.New("the account has changed since the given version")
	ErrNoVersion       = errors.New("there is no such account, so If-Match cannot match")
)

// accountIDForm is the form of an id that a caller chooses. The schema checks the same (accounts_id_form).
var accountIDForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}$`)

// ValidAccountID tells whether id could name an account.
func ValidAccountID(id string) bool { return accountIDForm.MatchString(id) }

// Account is an account as its owner sees it.
type Account struct {
	Balance
	Name      string
	Metadata  map[string]string
	Version   int64 // moved by the owner's edits, never by a posting
	CreatedAt time.Time
}

// Terms are what an account's owner decides about it. PUT replaces all of them.
type Terms struct {
	Currency       Currency
	Name           string
	Metadata       map[string]string
	OverdraftLimit *int64 // minor units; nil: unlimited
}

// IfVersion is the version that an account or a payment must have for a change of it to be made, from 1 on, or one of the
// constants below. The SQL of Put and Close knows them: only 0 creates, and what is not above 0 asks for no version.
type IfVersion int64

// What asks for no version.
const (
	Unconditional IfVersion = 0  // whatever there is, or nothing
	AnyVersion    IfVersion = -1 // whatever there is
)

// Allows tells whether something that has the version may be changed.
func (c IfVersion) Allows(version int64) bool { return c <= 0 || version == int64(c) }

// Querier is a pool, a connection or a transaction.
type Querier interface {
	SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Put creates the account under the id that its owner chose, or replaces its terms: the same call again has no further
// effect, and does not move the version. Only without a condition does it create one. One upsert decides; the row is read
// again only to say why it was refused.
func Put(ctx context.Context, db Querier, ref Ref, terms Terms, condition IfVersion) (account Account, created bool, err error) {
	row := db.QueryRow(ctx, `
		INSERT INTO accounts (merchant_id, id, currency, overdraft_limit, name, metadata)
		SELECT $1, $2, $3, $4, $5, $6
		WHERE $7::bigint = 0 OR EXISTS (SELECT FROM accounts WHERE merchant_id = $1 AND id = $2)
		ON CONFLICT (merchant_id, id) DO UPDATE
		SET overdraft_limit = excluded.overdraft_limit,
			name = excluded.name,
			metadata = excluded.metadata,
			version = accounts.version
				+ ((accounts.overdraft_limit, accounts.name, accounts.metadata)
					IS DISTINCT FROM (excluded.overdraft_limit, excluded.name, excluded.metadata))::int
		WHERE accounts.currency = excluded.currency
			AND accounts.status = 'open'
			AND (excluded.overdraft_limit IS NULL OR accounts.balance::numeric - accounts.held >= -excluded.overdraft_limit)
			AND ($7::bigint <= 0 OR accounts.version = $7)
		RETURNING `+accountColumns+`, xmax = 0`, // xmax is 0 on a row that this statement inserted
		ref.MerchantID, ref.AccountID, terms.Currency, terms.OverdraftLimit, terms.Name, terms.Metadata, condition)
	err = scanAccount(row, &account, &created)
	if errors.Is(err, pgx.ErrNoRows) {
		return Account{}, false, whyNotPut(ctx, db, ref, terms, condition)
	}
	if err != nil {
		return Account{}, false, fmt.Errorf("putting account: %w", err)
	}
	return account, created, nil
}

func whyNotPut(ctx context.Context, db Querier, ref Ref, terms Terms, condition IfVersion) error {
	account, err := Get(ctx, db, ref)
	switch {
	case errors.Is(err, ErrAccountNotFound):
		return ErrNoVersion // only a conditional PUT does not create
	case err != nil:
		return err
	case account.Status == StatusClosed:
		return ErrAccountClosed
	case account.Currency != terms.Currency:
		return ErrCurrencyFixed
	case !condition.Allows(account.Version):
		return ErrVersionMismatch
	default:
		return ErrOverdraftInUse
	}
}

// Close closes an account that is empty, for good: the same call again has no further effect. On an account that
// is closed already the condition no longer matters, because the caller has what it asked for (RFC 9110, section 13.1.1).
//
// One UPDATE decides. If a charge holds the row it waits for that charge and then looks at the balance again; a charge that
// comes after it waits for the UPDATE, and then finds the account closed. The row is read again only to say why it was refused.
func Close(ctx context.Context, db Querier, ref Ref, condition IfVersion) error {
	var version int64
	err := db.QueryRow(ctx, `
		UPDATE accounts
		SET status = 'closed', version = version + 1
		WHERE merchant_id = $1 AND id = $2 AND status = 'open' AND balance = 0 AND held = 0 AND open_payments = 0
			AND ($3::bigint <= 0 OR version = $3)
		RETURNING version`, ref.MerchantID, ref.AccountID, condition).Scan(&version)
	if errors.Is(err, pgx.ErrNoRows) {
		return whyNotClosed(ctx, db, ref, condition)
	}
	if err != nil {
		return fmt.Errorf("closing account: %w", err)
	}
	return nil
}

func whyNotClosed(ctx context.Context, db Querier, ref Ref, condition IfVersion) error {
	account, err := Get(ctx, db, ref)
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

const accountColumns = `merchant_id, id, currency, status, overdraft_limit, balance, held, last_sequence, last_entry_at,
	name, metadata, version, created_at`

// Get reads an account, or returns ErrAccountNotFound.
func Get(ctx context.Context, db Querier, ref Ref) (Account, error) {
	row := db.QueryRow(ctx, `
		SELECT `+accountColumns+`
		FROM accounts
		WHERE merchant_id = $1 AND id = $2`, ref.MerchantID, ref.AccountID)
	var account Account
	err := scanAccount(row, &account)
	if errors.Is(err, pgx.ErrNoRows) {
		return Account{}, ErrAccountNotFound
	}
	if err != nil {
		return Account{}, fmt.Errorf("reading account: %w", err)
	}
	return account, nil
}

func scanAccount(row pgx.Row, a *Account, more ...any) error {
	var lastEntryAt *time.Time
	columns := []any{
		&a.MerchantID, &a.AccountID, &a.Currency, &a.Status, &a.OverdraftLimit, &a.Posted, &a.Held,
		&a.LastSequence, &lastEntryAt, &a.Name, &a.Metadata, &a.Version, &a.CreatedAt,
	}
	if err := row.Scan(append(columns, more...)...); err != nil {
		return err
	}
	a.LastEntryAt = orZero(lastEntryAt)
	return nil
}
