package ledger

import (
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// The functions here queue a statement on a pipelined batch of somebody's transaction; they never commit. Each handles
// any number of rows in one statement, so a batch of one charge and a batch of five hundred take the same path.

// QueueLock locks the accounts and hands them over as they are once every earlier holder has finished. Accounts that
// do not exist are left out.
//
// The lock order is the ORDER BY of this statement, ascending and COLLATE "C" by the column's definition: row locks are
// taken above the sort, so two transactions that want the same accounts queue up instead of deadlocking. It filters on
// the key alone and reads only the locked row: anything else could be as old as the moment before it had to wait.
func QueueLock(b *pgx.Batch, refs []Ref, locked func([]Balance)) {
	merchants, ids := make([]int64, len(refs)), make([]string, len(refs))
	for i, ref := range refs {
		merchants[i], ids[i] = ref.MerchantID, ref.AccountID
	}
	b.Queue(`
		SELECT a.merchant_id, a.id, a.currency, a.status, a.overdraft_limit, a.balance, a.held, a.open_payments,
			a.last_sequence, a.last_entry_at
		FROM unnest($1::bigint[], $2::text[]) AS wanted (merchant_id, id)
		JOIN accounts a ON a.merchant_id = wanted.merchant_id AND a.id = wanted.id
		WHERE a.merchant_id = ANY ($1)
		ORDER BY a.merchant_id, a.id
		FOR NO KEY UPDATE OF a`, merchants, ids).Query(func(rows pgx.Rows) error {
		balances := make([]Balance, 0, len(refs))
		var next Balance
		var lastEntryAt *time.Time
		_, err := pgx.ForEachRow(rows, []any{
			&next.MerchantID, &next.AccountID, &next.Currency, &next.Status, &next.OverdraftLimit, &next.Posted, &next.Held,
			&next.OpenPayments, &next.LastSequence, &lastEntryAt,
		}, func() error {
			next.LastEntryAt = orZero(lastEntryAt)
			balances = append(balances, next)
			return nil
		})
		if err != nil {
			return fmt.Errorf("locking accounts: %w", err)
		}
		locked(balances)
		return nil
	})
}

// orZero reads a column that is NULL until the account has an entry.
func orZero(at *time.Time) time.Time {
	if at == nil {
		return time.Time{}
	}
	return *at
}

// QueueWrite writes what was done on the book since it was opened: the entries, all at once because the database checks
// that every journal of the statement balances, and then each account that changed, once. at is the transaction's now.
func (b *Book) QueueWrite(batch *pgx.Batch, at time.Time) {
	if len(b.entries) > 0 {
		b.queueEntries(batch, at)
	}
	if len(b.changed) > 0 {
		b.queueBalances(batch, at)
	}
}

func (b *Book) queueEntries(batch *pgx.Batch, at time.Time) {
	n := len(b.entries)
	merchants, accounts, sequences := make([]int64, n), make([]string, n), make([]int64, n)
	journals, payments := make([][16]byte, n), make([][16]byte, n)
	currencies, amounts, balances := make([]string, n), make([]int64, n), make([]int64, n)
	for i, e := range b.entries {
		merchants[i], accounts[i], sequences[i] = e.MerchantID, e.AccountID, e.Sequence
		journals[i], payments[i] = e.JournalID, e.PaymentID
		currencies[i], amounts[i], balances[i] = string(e.Currency), e.Minor, e.BalanceAfter
	}
	batch.Queue(`
		INSERT INTO entries
			(merchant_id, account_id, sequence, journal_id, payment_id, currency, amount, balance_after, at)
		SELECT e.merchant_id, e.account_id, e.sequence, e.journal_id, e.payment_id, e.currency, e.amount, e.balance_after, $9
		FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::uuid[], $5::uuid[], $6::text[], $7::bigint[], $8::bigint[])
			AS e (merchant_id, account_id, sequence, journal_id, payment_id, currency, amount, balance_after)`,
		merchants, accounts, sequences, journals, payments, currencies, amounts, balances, at)
}

func (b *Book) queueBalances(batch *pgx.Batch, at time.Time) {
	n := len(b.changed)
	merchants, accounts := make([]int64, 0, n), make([]string, 0, n)
	balances, held := make([]int64, 0, n), make([]int64, 0, n)
	open, sequences := make([]int64, 0, n), make([]int64, 0, n)
	for _, a := range b.changed {
		merchants, accounts = append(merchants, a.MerchantID), append(accounts, a.AccountID)
		balances, held = append(balances, a.Posted), append(held, a.Held)
		open, sequences = append(open, a.OpenPayments), append(sequences, a.LastSequence)
	}
	batch.Queue(`
		UPDATE accounts a
		SET balance = changed.balance, held = changed.held, open_payments = changed.open_payments,
			last_sequence = changed.last_sequence,
			last_entry_at = CASE WHEN changed.last_sequence > a.last_sequence THEN $7 ELSE a.last_entry_at END
		FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
			AS changed (merchant_id, id, balance, held, open_payments, last_sequence)
		WHERE a.merchant_id = changed.merchant_id AND a.id = changed.id AND a.merchant_id = ANY ($1)`,
		merchants, accounts, balances, held, open, sequences, at)
}
