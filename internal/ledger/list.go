package ledger

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// A page of a list begins where the last one ended. It does not skip a number of rows.
// So a row that is added between two pages neither hides nor repeats another.

// List reads up to limit of a merchant's accounts, ascending by id, after the given id;
// "" is before all.
func (a *Accounts) List(
	ctx context.Context, merchantID int64, afterID string, limit int,
) (accounts []Account, err error) {
	batch := &pgx.Batch{}
	batch.Queue(postgres.InIndexOrder)
	batch.Queue(`
		SELECT `+accountColumns+`
		FROM accounts
		WHERE merchant_id = $1 AND id > $2
		ORDER BY id
		LIMIT $3`, merchantID, afterID, limit).Query(func(rows pgx.Rows) error {
		accounts, err = pgx.CollectRows(rows,
			func(row pgx.CollectableRow) (account Account, err error) {
				err = scanAccount(row, &account)
				return account, err
			})
		return err
	})
	if err := a.pool.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("listing accounts: %w", err)
	}
	return accounts, nil
}

// WrittenEntry is an entry with the time at which its transaction wrote it, by the
// database's clock.
type WrittenEntry struct {
	Entry
	At time.Time
}

// NewestEntry is where an account's statement begins: above every sequence.
const NewestEntry = math.MaxInt64

// Entries reads an account's statement, newest first: up to limit entries before the
// given sequence. An account that does not exist has none.
func (a *Accounts) Entries(
	ctx context.Context, ref Ref, beforeSequence int64, limit int,
) (entries []WrittenEntry, err error) {
	batch := &pgx.Batch{}
	batch.Queue(postgres.InIndexOrder)
	batch.Queue(`
		SELECT sequence, journal_id, payment_id, currency, amount, balance_after, at
		FROM entries
		WHERE merchant_id = $1 AND account_id = $2 AND sequence < $3
		ORDER BY sequence DESC
		LIMIT $4`,
		ref.MerchantID, ref.AccountID, beforeSequence, limit,
	).Query(func(rows pgx.Rows) error {
		entries, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (WrittenEntry, error) {
			e := WrittenEntry{Entry: Entry{Ref: ref}}
			err := row.Scan(&e.Sequence, &e.JournalID, &e.PaymentID, &e.Currency, &e.Minor,
				&e.BalanceAfter, &e.At)
			return e, err
		})
		return err
	})
	if err := a.pool.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("reading a statement: %w", err)
	}
	return entries, nil
}
