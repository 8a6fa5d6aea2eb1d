package migrations_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// What the database itself refuses about accounts and entries, whoever asks.

// insertAccount opens the account "new", like the shop's except for what a document says.
const insertAccount = `
	INSERT INTO accounts
		(merchant_id, id, currency, status, overdraft_limit, balance, held, open_payments, last_sequence, last_entry_at,
		version, name, metadata, created_at)
	SELECT a.merchant_id, a.id, a.currency, a.status, a.overdraft_limit, a.balance, a.held, a.open_payments,
		a.last_sequence, a.last_entry_at,
		a.version, a.name, a.metadata, a.created_at
	FROM accounts shop
	CROSS JOIN jsonb_populate_record(shop, '{"id": "new"}'::jsonb || $1) AS a
	WHERE shop.merchant_id = 1 AND shop.id = 'shop'`

func TestAnAccountThatBreaksARuleIsRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db.Pool)
	for _, test := range []struct{ name, account, constraint string }{
		{"a balance below zero without an overdraft", `{"balance": -1}`, "accounts_balance_above_floor"},
		{"a balance below the overdraft limit", `{"balance": -101, "overdraft_limit": 100}`, "accounts_balance_above_floor"},
		{"more held than there is", `{"held": 6, "open_payments": 1}`, "accounts_balance_above_floor"},
		{"more held than with the overdraft", `{"held": 106, "open_payments": 1, "overdraft_limit": 100}`, "accounts_balance_above_floor"},
		{"something held for no payment", `{"held": 1}`, "accounts_held_for_open_payments"},
		{"less than no open payments", `{"open_payments": -1}`, "accounts_open_payments_not_negative"},
		{"open payments, and closed", `{"status": "closed", "open_payments": 1}`, "accounts_closed_has_nothing_open"},
		{"less than nothing held", `{"held": -1}`, "accounts_held_not_negative"},
		{"a negative overdraft limit", `{"overdraft_limit": -1}`, "accounts_overdraft_limit_range"},
		{"an overdraft limit that JSON cannot carry", `{"overdraft_limit": 9007199254740992}`, "accounts_overdraft_limit_range"},
		{"entries, but no time of the last", `{"last_entry_at": null}`, "accounts_entries_have_a_time"},
		{"a time of the last entry, but no entries", `{"last_sequence": 0}`, "accounts_entries_have_a_time"},
		{"an empty id", `{"id": ""}`, "accounts_id_form"},
		{"an id that begins with a sign", `{"id": "-shop"}`, "accounts_id_form"},
		{"an id with a space", `{"id": "my shop"}`, "accounts_id_form"},
		{"an id with a slash", `{"id": "my/shop"}`, "accounts_id_form"},
		{"an id with a letter beyond ASCII", `{"id": "büro"}`, "accounts_id_form"},
		{"an id that ends in a line feed", `{"id": "shop\n"}`, "accounts_id_form"},
		{"an id of 65 characters", `{"id": "a2345678901234567890123456789012345678901234567890123456789012345"}`, "accounts_id_form"},
		{"a currency in small letters", `{"currency": "usd"}`, "accounts_currency_form"},
		{"a currency of two letters", `{"currency": "US"}`, "accounts_currency_form"},
		{"a currency of four letters", `{"currency": "USDT"}`, "accounts_currency_form"},
		{"an unknown status", `{"status": "frozen"}`, "accounts_status_known"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inVain(t, db.Pool, func(tx pgx.Tx) {
				_, err := tx.Exec(t.Context(), insertAccount, test.account)
				wantRefused(t, err, checkFailed, test.constraint)
			})
		})
	}
	t.Run("a second account of one id", func(t *testing.T) {
		_, err := db.Pool.Exec(t.Context(), insertAccount, `{"id": "shop"}`)
		wantRefused(t, err, notUnique, "accounts_pkey")
	})
	t.Run("an account of no merchant", func(t *testing.T) {
		_, err := db.Pool.Exec(t.Context(), insertAccount, `{"merchant_id": 3}`)
		wantRefused(t, err, foreignKeyMissing, "accounts_merchant_exists")
	})
}

func TestAnAccountThatBreaksNoRuleIsTaken(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db.Pool)
	for _, test := range []struct{ name, account string }{
		{"like another", `{}`},
		{"the same id for another merchant", `{"merchant_id": 2, "id": "new"}`},
		{"at its floor", `{"balance": -100, "overdraft_limit": 100}`},
		{"everything held", `{"held": 5, "open_payments": 1}`},
		{"far below zero without a limit", `{"balance": -9223372036854775808, "overdraft_limit": null}`},
		{"an id of 64 characters of every kind", `{"id": "a_.:-Z7890123456789012345678901234567890123456789012345678901264"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			inVain(t, db.Pool, func(tx pgx.Tx) { execute(t, tx, insertAccount, test.account) })
		})
	}
}

// A balance that leaves its bounds is refused when it moves, too, and not only at the beginning.
func TestABalanceIsNotMovedOutOfItsBounds(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db.Pool)
	for _, test := range []struct{ name, change, constraint string }{
		{"below its floor", `UPDATE accounts SET balance = balance - 6 WHERE id = 'shop'`, "accounts_balance_above_floor"},
		{"by a hold", `UPDATE accounts SET held = held + 6, open_payments = 1 WHERE id = 'shop'`, "accounts_balance_above_floor"},
		{"by a hold that is released twice", `UPDATE accounts SET held = held - 1 WHERE id = 'shop'`, "accounts_held_not_negative"},
		{"by a lower limit", `UPDATE accounts SET overdraft_limit = 4 WHERE id = 'world'`, "accounts_balance_above_floor"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := db.Pool.Exec(t.Context(), test.change)
			wantRefused(t, err, checkFailed, test.constraint)
		})
	}
}

// post writes entries of merchant 1 by one statement, as rows of (merchant, account, sequence, journal, currency, amount).
const post = `
	INSERT INTO entries (merchant_id, account_id, sequence, journal_id, payment_id, currency, amount, balance_after, at)
	SELECT e.merchant, e.account, e.sequence, ('00000000-0000-7000-8000-00000000' || e.journal)::uuid,
		'00000000-0000-7000-8000-00000000a001', e.currency, e.amount, 0, '2026-11-01'
	FROM jsonb_to_recordset($1) AS e (merchant bigint, account text, sequence bigint, journal text, currency text, amount bigint)`

func TestEntriesThatBreakARuleAreRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db.Pool)
	for _, test := range []struct{ name, entries, code, constraint string }{
		{
			"one entry alone",
			`[{"merchant": 1, "journal": "0001", "account": "world", "sequence": 2, "currency": "USD", "amount": -7}]`,
			integrityViolation, "entries_balanced",
		},
		{
			"a journal that does not sum to zero",
			`[{"merchant": 1, "journal": "0001", "account": "world", "sequence": 2, "currency": "USD", "amount": -7},
			  {"merchant": 1, "journal": "0001", "account": "shop", "sequence": 2, "currency": "USD", "amount": 8}]`,
			integrityViolation, "entries_balanced",
		},
		{
			"one bad journal beside a good one",
			`[{"merchant": 1, "journal": "0001", "account": "world", "sequence": 2, "currency": "USD", "amount": -7},
			  {"merchant": 1, "journal": "0001", "account": "shop", "sequence": 2, "currency": "USD", "amount": 7},
			  {"merchant": 1, "journal": "0002", "account": "world", "sequence": 3, "currency": "USD", "amount": -7},
			  {"merchant": 1, "journal": "0002", "account": "shop", "sequence": 3, "currency": "USD", "amount": 6}]`,
			integrityViolation, "entries_balanced",
		},
		{
			"two bad journals that make up for each other",
			`[{"merchant": 1, "journal": "0001", "account": "world", "sequence": 2, "currency": "USD", "amount": -7},
			  {"merchant": 1, "journal": "0002", "account": "shop", "sequence": 2, "currency": "USD", "amount": 7}]`,
			integrityViolation, "entries_balanced",
		},
		{
			"two currencies that make up for each other",
			`[{"merchant": 1, "journal": "0001", "account": "world", "sequence": 2, "currency": "USD", "amount": -7},
			  {"merchant": 1, "journal": "0001", "account": "shop", "sequence": 2, "currency": "EUR", "amount": 7}]`,
			integrityViolation, "entries_balanced",
		},
		{
			"two merchants that make up for each other",
			`[{"merchant": 1, "journal": "0001", "account": "world", "sequence": 2, "currency": "USD", "amount": -7},
			  {"merchant": 2, "journal": "0001", "account": "shop", "sequence": 2, "currency": "USD", "amount": 7}]`,
			integrityViolation, "entries_balanced",
		},
		{
			"sums beyond 64 bits",
			`[{"merchant": 1, "journal": "0001", "account": "world", "sequence": 2, "currency": "USD", "amount": 9223372036854775807},
			  {"merchant": 1, "journal": "0001", "account": "shop", "sequence": 2, "currency": "USD", "amount": 9223372036854775807},
			  {"merchant": 1, "journal": "0001", "account": "shop", "sequence": 3, "currency": "USD", "amount": 2}]`,
			integrityViolation, "entries_balanced",
		},
		{
			"an entry of nothing",
			`[{"merchant": 1, "journal": "0001", "account": "shop", "sequence": 2, "currency": "USD", "amount": 0}]`,
			checkFailed, "entries_amount_not_zero",
		},
		{
			"an entry before the first",
			`[{"merchant": 1, "journal": "0001", "account": "world", "sequence": 0, "currency": "USD", "amount": -7},
			  {"merchant": 1, "journal": "0001", "account": "shop", "sequence": 2, "currency": "USD", "amount": 7}]`,
			checkFailed, "entries_sequence_from_one",
		},
		{
			"a second entry of one number: a lost update",
			`[{"merchant": 1, "journal": "0001", "account": "world", "sequence": 1, "currency": "USD", "amount": -7},
			  {"merchant": 1, "journal": "0001", "account": "shop", "sequence": 2, "currency": "USD", "amount": 7}]`,
			notUnique, "entries_pkey",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := db.Pool.Exec(t.Context(), post, test.entries)
			wantRefused(t, err, test.code, test.constraint)
		})
	}
}

func TestJournalsThatBalanceAreTakenTogether(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db.Pool)
	inVain(t, db.Pool, func(tx pgx.Tx) {
		execute(t, tx, post,
			`[{"merchant": 1, "journal": "0001", "account": "world", "sequence": 2, "currency": "USD", "amount": -7},
			  {"merchant": 1, "journal": "0001", "account": "shop", "sequence": 2, "currency": "USD", "amount": 4},
			  {"merchant": 1, "journal": "0001", "account": "till", "sequence": 1, "currency": "USD", "amount": 3},
			  {"merchant": 1, "journal": "0002", "account": "world", "sequence": 3, "currency": "USD", "amount": 1},
			  {"merchant": 1, "journal": "0002", "account": "shop", "sequence": 3, "currency": "USD", "amount": -1},
			  {"merchant": 2, "journal": "0002", "account": "world", "sequence": 1, "currency": "EUR", "amount": 1},
			  {"merchant": 2, "journal": "0002", "account": "shop", "sequence": 1, "currency": "EUR", "amount": -1}]`)
	})
}

// SECURITY 39. The application has no such right; the owner, and even a superuser, meets the trigger.
func TestHistoryIsNotRewritten(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db.Pool)
	admin := connect(t, db.AdminURL)
	for _, change := range []struct{ name, sql string }{
		{"UPDATE", `UPDATE entries SET amount = amount`},
		{"UPDATE of no row", `UPDATE entries SET amount = amount WHERE false`},
		{"DELETE", `DELETE FROM entries`},
		{"DELETE of one row", `DELETE FROM entries WHERE account_id = 'shop' AND sequence = 1`},
		{"TRUNCATE", `TRUNCATE entries`},
		{"upsert", `INSERT INTO entries (merchant_id, account_id, sequence, journal_id, payment_id, currency, amount, balance_after, at)
			SELECT merchant_id, account_id, sequence, journal_id, payment_id, currency, amount, balance_after, at FROM entries
			ON CONFLICT (merchant_id, account_id, sequence) DO UPDATE SET amount = excluded.amount`},
	} {
		t.Run(change.name+" by the application", func(t *testing.T) {
			inVain(t, db.Pool, func(tx pgx.Tx) {
				execute(t, tx, `SET LOCAL ROLE paymentsvc_app`)
				_, err := tx.Exec(t.Context(), change.sql)
				wantRefused(t, err, notAllowed, "")
			})
		})
		t.Run(change.name+" by the owner", func(t *testing.T) {
			_, err := db.Pool.Exec(t.Context(), change.sql)
			wantRefused(t, err, notAllowed, "entries_immutable")
		})
		t.Run(change.name+" by a superuser", func(t *testing.T) {
			_, err := admin.Exec(t.Context(), change.sql)
			wantRefused(t, err, notAllowed, "entries_immutable")
		})
	}
}

// A closed account is closed for good, whoever says otherwise.
func TestAClosedAccountStaysClosed(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db.Pool)
	inVain(t, db.Pool, func(tx pgx.Tx) {
		execute(t, tx, `UPDATE accounts SET status = 'closed' WHERE merchant_id = 2 AND id = 'shop'`)
		execute(t, tx, `UPDATE accounts SET status = 'closed' WHERE merchant_id = 2 AND id = 'shop'`)
		_, err := tx.Exec(t.Context(), `UPDATE accounts SET status = 'open' WHERE merchant_id = 2 AND id = 'shop'`)
		wantRefused(t, err, integrityViolation, "accounts_closed_for_good")
	})
}
