package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// BalanceAt reads what an account's balance was at a time, that moment included: what
// its last entry until then left. It is 0 before the first entry, and for an account
// that does not exist. A time that has not come by the database's clock is ErrNotYet.
//
// Entries have no index by time and need none: their sequence is their order in time
// (audit.i2_balances_match_entries). So the last one is found by halving, in one
// statement: twenty look-ups by primary key in a million entries.
//
// A posting reads the clock when it has locked the account, and is seen when it
// commits. So a moment that is hardly over is asked for behind the account's lock.
// Every posting that read the clock before it has then committed, and the answer is the
// same for ever. The lock is the one that a posting takes: a steady stream of shared
// locks would starve the exclusive one.
func (a *Accounts) BalanceAt(ctx context.Context, ref Ref, at time.Time) (minor int64, err error) {
	var notYet bool
	// one implicit transaction, each statement of which sees what was committed before
	// it
	batch := &pgx.Batch{}
	batch.Queue(`
		SELECT FROM accounts
		WHERE merchant_id = $1 AND id = $2
			AND $3 > clock_timestamp() - interval '1 minute' -- no posting takes that long
		FOR NO KEY UPDATE`, ref.MerchantID, ref.AccountID, at)
	batch.Queue(`
		WITH RECURSIVE search AS (
			-- The entry is in low .. high, and 0 is none.
			SELECT 0::bigint AS low, a.last_sequence AS high
			FROM accounts a
			WHERE a.merchant_id = $1 AND a.id = $2
			UNION ALL
			SELECT CASE WHEN e.at <= $3 THEN e.sequence ELSE s.low END,
				CASE WHEN e.at <= $3 THEN s.high ELSE e.sequence - 1 END
			FROM search s
			JOIN entries e ON e.merchant_id = $1 AND e.account_id = $2
				AND e.sequence = (s.low + s.high + 1) / 2
			WHERE s.low < s.high
		)
		SELECT coalesce(
				(SELECT e.balance_after
				FROM search s
				JOIN entries e ON e.merchant_id = $1 AND e.account_id = $2 AND e.sequence = s.low
				WHERE s.low = s.high), 0),
			$3 > clock_timestamp()`,
		ref.MerchantID, ref.AccountID, at,
	).QueryRow(func(row pgx.Row) error {
		return row.Scan(&minor, &notYet)
	})
	err = a.pool.SendBatch(ctx, batch).Close()
	switch {
	case err != nil:
		return 0, fmt.Errorf("reading a balance as it was: %w", err)
	case notYet:
		return 0, ErrNotYet
	}
	return minor, nil
}
