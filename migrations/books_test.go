package migrations_test

import "testing"

// The books that the tests of refusals start from: merchant 1 has a payment of 5 from world to shop that is whole, with
// its claim, reference, entries, event and answer. Merchant 2 has the same accounts and no payment.
const books = `
INSERT INTO merchants (id, name) VALUES (1, 'one'), (2, 'two');
INSERT INTO accounts (merchant_id, id, currency, overdraft_limit, balance, last_sequence, last_entry_at) VALUES
	(1, 'world', 'USD', NULL, -5, 1, '2026-11-01'), (1, 'shop', 'USD', 0, 5, 1, '2026-11-01'),
	(2, 'world', 'USD', NULL, 0, 0, NULL), (2, 'shop', 'USD', 0, 0, 0, NULL);
INSERT INTO idempotency_keys
	(merchant_id, scope, key, operation, fingerprint, fingerprint_version, request_id, payment_id, created_at)
VALUES (1, 'client', 'k1', 'charge', sha256('k1'), 1, '00000000-0000-7000-8000-00000000e001',
	'00000000-0000-7000-8000-00000000a001', '2026-11-01');
INSERT INTO payment_references (merchant_id, reference, payment_id)
VALUES (1, 'order 1', '00000000-0000-7000-8000-00000000a001');
INSERT INTO payments (merchant_id, id, status, amount, currency, source_account, destination_account, amount_captured,
	reference, description, metadata, idempotency_key, created_at)
VALUES (1, '00000000-0000-7000-8000-00000000a001', 'succeeded', 5, 'USD', 'world', 'shop', 5,
	'order 1', '', '{}', 'k1', '2026-11-01');
INSERT INTO entries (merchant_id, account_id, sequence, journal_id, payment_id, currency, amount, balance_after, at)
SELECT 1, account_id, 1, '00000000-0000-7000-8000-00000000a001', '00000000-0000-7000-8000-00000000a001', 'USD', amount, amount,
	'2026-11-01'
FROM (VALUES ('world', -5), ('shop', 5)) AS moved (account_id, amount);
INSERT INTO events (merchant_id, id, type, payment_id, data, created_at)
VALUES (1, '00000000-0000-7000-8000-00000000b001', 'payment.succeeded', '00000000-0000-7000-8000-00000000a001', '{}', '2026-11-01');
INSERT INTO idempotency_answers (merchant_id, request_id, status, location, body, created_at)
VALUES (1, '00000000-0000-7000-8000-00000000e001', 201, '/payments/pay_0000000000007000800000000000a001', '{}', '2026-11-01');
`

func keepBooks(t *testing.T, db querier) {
	t.Helper()
	execute(t, db, books)
}
