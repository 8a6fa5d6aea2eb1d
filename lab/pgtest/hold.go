package pgtest

// TakeNextEntries inserts the next two entries of account $1, which balance. While that
// is not committed, a transaction that charges the account waits at its own entries. It
// then holds its key and the locks of its accounts.
const TakeNextEntries = `
	INSERT INTO entries (merchant_id, account_id, sequence, journal_id, payment_id, currency,
		amount, balance_after, at)
	SELECT a.merchant_id, a.id, a.last_sequence + n, 'f0000000-0000-7000-8000-000000000000',
		'f0000000-0000-7000-8000-000000000000', a.currency, (ARRAY[1, -1])[n], 0, now()
	FROM accounts a
	CROSS JOIN generate_series(1, 2) AS n
	WHERE a.id = $1`
