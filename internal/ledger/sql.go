package ledger

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/paymentsvc/paymentsvc/internal/unnest"
)

// The Queue functions queue a statement on a round trip of the caller's transaction.
// They never commit.

// Locking says what becomes of a row that another transaction has locked.
type Locking string

// WaitForLocks waits until the row is free, SkipLocked leaves the row out.
const (
	WaitForLocks Locking = ""
	SkipLocked   Locking = "SKIP LOCKED"
)

// QueueLock locks the accounts. The book that it returns has them once the round trip
// has been made, as they are when every earlier holder has finished. Accounts that do
// not exist are left out, and with SkipLocked those that another transaction has
// locked.
//
// The lock order is the ORDER BY of this statement: ascending, byte by byte. The rows
// are looked up and locked one by one in that order, so two transactions that want the
// same accounts queue up instead of deadlocking. The statement filters on the key alone
// and reads only the locked row: anything else could be as old as the moment before the
// wait.
func QueueLock(q *pgx.Batch, refs []Ref, locking Locking) *Book {
	book := newBook(len(refs))
	if len(refs) == 0 {
		return book
	}
	q.Queue(`
		SELECT a.merchant_id, a.id, a.currency, a.status, a.overdraft_limit, a.balance, a.held,
			a.open_payments, a.last_sequence, a.last_entry_at, a.row
		FROM (
			SELECT w.merchant_id, w.id
			FROM unnest($1::bigint[], $2::text[]) AS w (merchant_id, id)
			ORDER BY w.merchant_id, w.id COLLATE "C") AS wanted
		CROSS JOIN LATERAL (
			SELECT a.merchant_id, a.id, a.currency, a.status, a.overdraft_limit, a.balance, a.held,
				a.open_payments, a.last_sequence, a.last_entry_at, a.ctid AS row
			FROM accounts a
			WHERE a.merchant_id = coalesce($3, wanted.merchant_id) AND a.id = wanted.id
			FOR NO KEY UPDATE `+string(locking)+`) AS a`,
		unnest.Column(refs, func(r Ref) int64 { return r.MerchantID }),
		unnest.Column(refs, func(r Ref) string { return r.AccountID }),
		unnest.Shared(refs, func(r Ref) int64 { return r.MerchantID }),
	).Query(func(rows pgx.Rows) error {
		var next Balance
		var lastEntryAt *time.Time
		_, err := pgx.ForEachRow(rows, []any{
			&next.MerchantID, &next.AccountID, &next.Currency, &next.Status, &next.OverdraftLimit,
			&next.Posted, &next.Held, &next.OpenPayments, &next.LastSequence, &lastEntryAt,
			&next.row,
		}, func() error {
			next.LastEntryAt = orZero(lastEntryAt)
			book.add(next)
			return nil
		})
		if err != nil {
			return fmt.Errorf("locking accounts: %w", err)
		}
		return nil
	})
	return book
}

// QueueExisting tells which of the accounts exist, locked or not. The map is filled
// when the round trip has been made.
func QueueExisting(q *pgx.Batch, refs []Ref) map[Ref]bool {
	existing := make(map[Ref]bool, len(refs))
	if len(refs) == 0 {
		return existing
	}
	q.Queue(`
		SELECT wanted.merchant_id, wanted.id
		FROM unnest($1::bigint[], $2::text[]) AS wanted (merchant_id, id)
		CROSS JOIN LATERAL (
			SELECT FROM accounts a
			WHERE a.merchant_id = coalesce($3, wanted.merchant_id) AND a.id = wanted.id
			OFFSET 0) AS a`,
		unnest.Column(refs, func(r Ref) int64 { return r.MerchantID }),
		unnest.Column(refs, func(r Ref) string { return r.AccountID }),
		unnest.Shared(refs, func(r Ref) int64 { return r.MerchantID }),
	).Query(func(rows pgx.Rows) error {
		var ref Ref
		_, err := pgx.ForEachRow(rows, []any{&ref.MerchantID, &ref.AccountID}, func() error {
			existing[ref] = true
			return nil
		})
		if err != nil {
			return fmt.Errorf("looking for locked accounts: %w", err)
		}
		return nil
	})
	return existing
}

// orZero reads a column that is NULL until the account has an entry.
func orZero(at *time.Time) time.Time {
	if at == nil {
		return time.Time{}
	}
	return *at
}

// QueueWrite writes what was done on the book: the entries, in one statement because
// the database checks that every journal of a statement balances, and then each account
// that changed, once. at is the transaction's timestamp.
func (b *Book) QueueWrite(q *pgx.Batch, at time.Time) {
	if len(b.entries) > 0 {
		b.queueEntries(q, at)
	}
	if len(b.changed) > 0 {
		b.queueBalances(q, at)
	}
}

func (b *Book) queueEntries(q *pgx.Batch, at time.Time) {
	q.Queue(`
		INSERT INTO entries (merchant_id, account_id, sequence, journal_id, payment_id, currency,
			amount, balance_after, at)
		SELECT e.merchant_id, e.account_id, e.sequence, e.journal_id, e.payment_id, e.currency,
			e.amount, e.balance_after, $9::timestamptz
		FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::uuid[], $5::uuid[], $6::text[],
				$7::bigint[], $8::bigint[])
			AS e (merchant_id, account_id, sequence, journal_id, payment_id, currency,
				amount, balance_after)`,
		unnest.Column(b.entries, func(e Entry) int64 { return e.MerchantID }),
		unnest.Column(b.entries, func(e Entry) string { return e.AccountID }),
		unnest.Column(b.entries, func(e Entry) int64 { return e.Sequence }),
		unnest.Column(b.entries, func(e Entry) [16]byte { return e.JournalID }),
		unnest.Column(b.entries, func(e Entry) [16]byte { return e.PaymentID }),
		unnest.Column(b.entries, func(e Entry) string { return string(e.Currency) }),
		unnest.Column(b.entries, func(e Entry) int64 { return e.Minor }),
		unnest.Column(b.entries, func(e Entry) int64 { return e.BalanceAfter }),
		at)
}

// queueBalances finds the rows where QueueLock found them. They are locked, so no other
// transaction has moved them.
func (b *Book) queueBalances(q *pgx.Batch, at time.Time) {
	accounts := slices.Collect(maps.Values(b.changed))
	q.Queue(`
		UPDATE accounts a
		SET balance = changed.balance, held = changed.held, open_payments = changed.open_payments,
			last_sequence = changed.last_sequence,
			last_entry_at = CASE
				WHEN changed.last_sequence > a.last_sequence THEN $6 ELSE a.last_entry_at END
		FROM unnest($1::tid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
			AS changed (row, balance, held, open_payments, last_sequence)
		WHERE a.merchant_id = coalesce($7, a.merchant_id) AND a.ctid = changed.row`,
		unnest.Column(accounts, func(a *Balance) pgtype.TID { return a.row }),
		unnest.Column(accounts, func(a *Balance) int64 { return a.Posted }),
		unnest.Column(accounts, func(a *Balance) int64 { return a.Held }),
		unnest.Column(accounts, func(a *Balance) int64 { return a.OpenPayments }),
		unnest.Column(accounts, func(a *Balance) int64 { return a.LastSequence }),
		at, unnest.Shared(accounts, func(a *Balance) int64 { return a.MerchantID }))
}
