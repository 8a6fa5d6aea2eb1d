package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// BalanceAt reads what an account's balance was at a time, that moment included: what its last entry until then left. It is 0
// before the first. An account that does not exist has none, and so 0 too. What will be is not known: ErrNotYet, by the
// database's clock.
//
// Entries have no index by time, and need none: their sequence is their order in time (audit.i2_balances_match_entries). So
// the last one is found by halving: twenty look-ups by primary key in a million entries, in one statement.
//
// A posting reads the clock when it has locked the account, and is seen when it commits. So a moment that is hardly over is
// asked for behind the account's lock: whoever has posted at it, has committed, and the answer is the same for ever. The lock is the
// one that a posting takes, so that the two queue up; those who share one overtake, one after another, whoever wants it alone.
func BalanceAt(ctx context.Context, db Querier, ref Ref, at time.Time) (minor int64, err error) {
	var notYet bool
	batch := &pgx.Batch{} // one implicit transaction, each statement of which sees what was committed before it
	batch.Queue(`
		SELECT FROM accounts
		WHERE merchant_id = $1 AND id = $2 AND $3 > clock_timestamp() - interval '1 minute' -- longer than any posting takes
		FOR NO KEY UPDATE`, ref.MerchantID, ref.AccountID, at)
	batch.Queue(`
		WITH RECURSIVE search AS (
			SELECT 0::bigint AS low, a.last_sequence AS high -- the entry is in low .. high, and 0 is none
			FROM accounts a
			WHERE a.merchant_id = $1 AND a.id = $2
			UNION ALL
			SELECT CASE WHEN e.at <= $3 THEN e.sequence ELSE s.low END, CASE WHEN e.at <= $3 THEN s.high ELSE e.sequence - 1 END
			FROM search s
			JOIN entries e ON e.merchant_id = $1 AND e.account_id = $2 AND e.sequence = (s.low + s.high + 1) / 2
			WHERE s.low < s.high
		)
		SELECT coalesce(
				(SELECT e.balance_after
				FROM search s
				JOIN entries e ON e.merchant_id = $1 AND e.account_id = $2 AND e.sequence = s.low
				WHERE s.low = s.high), 0),
			$3 > clock_timestamp()`, ref.MerchantID, ref.AccountID, at).QueryRow(func(row pgx.Row) error {
		return row.Scan(&minor, &notYet)
	})
	err = db.SendBatch(ctx, batch).Close()
	switch {
	case err != nil:
		return 0, fmt.Errorf("reading a balance as it was: %w", err)
	case notYet:
		return 0, ErrNotYet
	}
	return minor, nil
}

// ErrNotYet means that a balance is asked for that only the future knows.
var ErrNotYet = errors.New("the moment has not come yet")
