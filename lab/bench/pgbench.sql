-- One charge as a transaction of its own, for pgbench. It writes the rows of a charge of
-- paymentsvc into the same tables, statement by statement. It leaves out the decision.
--
-- The variables:
--   merchant       if there are several, a line before this script chooses it
--   run            100 to 999; differs between runs, so that ids do
--   counter        0
--   first_account  and last_account: the range of ids
--   hot            1: every charge uses the first account
--   body           an answer of the service
--   fingerprint
--   keys           1: write the key and the answer
--   events         1: write the event

-- The two accounts. They are locked in the order of their ids, as in paymentsvc. So
-- nothing deadlocks.
\set amount random(1000, 9999)
\if :hot
\set low :first_account
\set high random(:first_account + 1, :last_account)
\else
\set one random(:first_account, :last_account)
\set other random(:first_account, :last_account - 1)
\set other :other + case when :other >= :one then 1 else 0 end
\set low least(:one, :other)
\set high greatest(:one, :other)
\endif
\set low_pays random(0, 1)
\set low_change case when :low_pays = 1 then -:amount else :amount end
\set high_change -:low_change
\set source case when :low_pays = 1 then :low else :high end
\set destination case when :low_pays = 1 then :high else :low end

-- n is a number of 16 digits that no other charge has. With 16 more digits it is an id,
-- because decimal digits are hexadecimal too. Ids sort by time, as those of paymentsvc.
-- The key is the MD5 of n: keys are random.
\set counter :counter + 1
\set n :run * 10000000000000 + :counter * 1000 + :client_id

BEGIN;
\if :keys
INSERT INTO idempotency_keys
	(merchant_id, scope, key, operation, fingerprint, fingerprint_version, request_id, payment_id)
VALUES (:merchant, 'client', md5(:n::text), 'charge', :fingerprint, 1,
	(:n || '0000000000000001')::uuid, (:n || '0000000000000002')::uuid)
ON CONFLICT (merchant_id, scope, key) DO NOTHING;
\endif
UPDATE accounts
SET balance = balance + :low_change, last_sequence = last_sequence + 1,
	last_entry_at = clock_timestamp()
WHERE merchant_id = :merchant AND id = :low
RETURNING balance AS low_balance, last_sequence AS low_sequence
\gset
UPDATE accounts
SET balance = balance + :high_change, last_sequence = last_sequence + 1,
	last_entry_at = clock_timestamp()
WHERE merchant_id = :merchant AND id = :high
RETURNING balance AS high_balance, last_sequence AS high_sequence
\gset
INSERT INTO payments
	(merchant_id, id, status, amount, currency, source_account, destination_account,
	amount_captured, decline_code, reference, description, metadata, idempotency_key, created_at)
VALUES (:merchant, (:n || '0000000000000002')::uuid, 'succeeded', :amount, 'USD',
	:source, :destination, :amount, NULL, NULL, '', '{}', md5(:n::text), clock_timestamp());
INSERT INTO entries
	(merchant_id, account_id, sequence, journal_id, payment_id, currency, amount, balance_after, at)
VALUES
	(:merchant, :low, :low_sequence, (:n || '0000000000000003')::uuid,
		(:n || '0000000000000002')::uuid, 'USD', :low_change, :low_balance, clock_timestamp()),
	(:merchant, :high, :high_sequence, (:n || '0000000000000003')::uuid,
		(:n || '0000000000000002')::uuid, 'USD', :high_change, :high_balance, clock_timestamp());
\if :events
INSERT INTO events (merchant_id, id, type, payment_id, payment_version, data, created_at)
VALUES (:merchant, (:n || '0000000000000004')::uuid, 'payment.succeeded',
	(:n || '0000000000000002')::uuid, 1, :body, clock_timestamp());
\endif
\if :keys
INSERT INTO idempotency_answers (merchant_id, request_id, status, location, body, created_at)
VALUES (:merchant, (:n || '0000000000000001')::uuid, 201,
	'/payments/pay_' || :n || '0000000000000002', :body, clock_timestamp());
\endif
COMMIT;
