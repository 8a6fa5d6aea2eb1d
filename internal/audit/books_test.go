package audit_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/audit"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// words are SQL functions that make the rows of these tests short. Every id is a name
// of up to 12 hexadecimal digits behind the same zeros: payment "c1" is
// 00000000-0000-7000-8000-0000000000c1, and its request is "ec1".
const words = `
CREATE FUNCTION named(name text) RETURNS uuid IMMUTABLE LANGUAGE sql AS $$
	SELECT ('00000000-0000-7000-8000-' || lpad(name, 12, '0'))::uuid
$$;

-- A journal of two entries for merchant 1, and the balances after it.
CREATE FUNCTION post(journal text, payment text, source text, destination text, minor bigint)
RETURNS void LANGUAGE sql AS $$
	UPDATE accounts
	SET balance = balance + CASE id WHEN source THEN -minor ELSE minor END,
		last_sequence = last_sequence + 1, last_entry_at = '2026-11-01 10:00Z'
	WHERE merchant_id = 1 AND id IN (source, destination);
	INSERT INTO entries (merchant_id, account_id, sequence, journal_id, payment_id, currency,
		amount, balance_after, at)
	SELECT merchant_id, id, last_sequence, named(journal), named(payment), currency,
		CASE id WHEN source THEN -minor ELSE minor END, balance, last_entry_at
	FROM accounts
	WHERE merchant_id = 1 AND id IN (source, destination);
$$;

CREATE FUNCTION tell(event text, event_type text, payment text)
RETURNS void LANGUAGE sql AS $$
	INSERT INTO events (merchant_id, id, type, payment_id, payment_version, data, created_at)
	SELECT 1, named(event), 'payment.' || event_type, named(payment), count(*) + 1, '{}',
		'2026-11-01 10:00Z'
	FROM events WHERE payment_id = named(payment);
$$;

CREATE FUNCTION tell_refund(event text, event_type text, payment text, refund text)
RETURNS void LANGUAGE sql AS $$
	INSERT INTO events (merchant_id, id, type, payment_id, refund_id, payment_version, data,
		created_at)
	SELECT 1, named(event), 'refund.' || event_type, named(payment), named(refund),
		count(*) + 1, '{}', '2026-11-01 10:00Z'
	FROM events WHERE payment_id = named(payment);
$$;

CREATE FUNCTION claim(key text, payment text, request text, operation text DEFAULT 'charge')
RETURNS void LANGUAGE sql AS $$
	INSERT INTO idempotency_keys (merchant_id, scope, key, operation, fingerprint,
		fingerprint_version, request_id, payment_id, created_at)
	VALUES (1, 'client', $1, operation, sha256('request'),
		1, named(request), named(payment), '2026-11-01 10:00Z');
$$;

CREATE FUNCTION answer(request text, code int, payment text, refund text DEFAULT NULL)
RETURNS void LANGUAGE sql AS $$
	INSERT INTO idempotency_answers (merchant_id, request_id, status, location, body, created_at)
	VALUES (1, named(request), code,
		'/payments/pay_' || replace(named(payment)::text, '-', '')
			|| coalesce('/refunds/ref_' || replace(named(refund)::text, '-', ''), ''),
		'{}', '2026-11-01 10:00Z');
$$;

CREATE FUNCTION refund(refund text, payment text, key text, state text, minor bigint)
RETURNS void LANGUAGE sql AS $$
	INSERT INTO refunds (merchant_id, payment_id, id, amount, status, decline_code, reason,
		idempotency_key, created_at)
	VALUES (1, named(payment), named(refund), minor, state,
		CASE state WHEN 'declined' THEN 'insufficient_funds' END, '', key, '2026-11-01 10:00Z');
$$;

-- The payment of a key, which is claimed already.
CREATE FUNCTION pay(payment text, key text, state text, source text, destination text,
	minor bigint, name text)
RETURNS void LANGUAGE sql AS $$
	INSERT INTO payments (merchant_id, id, status, amount, currency, source_account,
		destination_account, amount_captured, decline_code, cancellation_reason, reference,
		description, metadata,
		authorized_until, idempotency_key, created_at)
	VALUES (1, named(payment), state, minor, 'USD', source, destination,
		CASE state WHEN 'succeeded' THEN minor ELSE 0 END,
		CASE state WHEN 'declined' THEN 'insufficient_funds' END,
		CASE state WHEN 'canceled' THEN 'requested' END, name, '', '{}',
		CASE state WHEN 'authorized' THEN timestamptz 'infinity' END, key, '2026-11-01 10:00Z');
$$;
`

// atProcessor are more books in order, of cards: payment 71 is at the processor, so is the
// capture of 72, and so is refund 7f of 73. Each attempt and its request end in the same
// digit as in "71", with an "a" or an "e" before it.
const atProcessor = `
INSERT INTO accounts (merchant_id, id, currency, overdraft_limit)
VALUES (1, 'processor:stripe:USD', 'USD', NULL);
SELECT claim('card 71', '71', 'e71'), claim('card 72', '72', 'ea2'), claim('card 73', '73', 'ea3'),
	claim('capture 72', '72', 'e72', 'capture'), claim('refund 73', '73', 'e73', 'refund'),
	answer('ea2', 201, '72'), answer('ea3', 201, '73');
INSERT INTO payments (merchant_id, id, status, amount, currency, source_account, payment_method,
	destination_account, amount_captured, amount_refunding, pending_operation, authorized_until,
	description, metadata, idempotency_key, created_at)
SELECT 1, named(p.id), p.status, 30, 'USD', 'processor:stripe:USD', 'pm_card_visa', 'idle',
	captured, captured / 3, pending, CASE status WHEN 'authorized' THEN timestamptz 'infinity' END,
	'', '{}', 'card ' || p.id, '2026-11-01 10:00Z'
FROM (VALUES ('71', 'processing', 0, NULL), ('72', 'authorized', 0, 'capture'),
	('73', 'succeeded', 30, NULL)) AS p (id, status, captured, pending);
SELECT tell('b71', 'processing', '71'), tell('b72', 'processing', '72'),
	tell('b73', 'processing', '73'), refund('7f', '73', 'refund 73', 'processing', 10);
SELECT tell('ba2', 'authorized', '72'), tell('ba3', 'succeeded', '73');
SELECT tell_refund('b7f', 'processing', '73', '7f'),
	post('73', '73', 'processor:stripe:USD', 'idle', 30);
UPDATE accounts SET open_payments = 3 WHERE id IN ('processor:stripe:USD', 'idle');
UPDATE accounts SET held = 10 WHERE id = 'idle';
INSERT INTO processor_attempts (merchant_id, id, operation, payment_id, refund_id, request_id,
	amount, due_at, created_at)
SELECT 1, named('a' || id), operation, named(id), named(refund), named('e' || id), 10,
	clock_timestamp(), '2026-11-01 10:00Z'
FROM (VALUES ('71', 'charge', NULL), ('72', 'capture', NULL), ('73', 'refund', '7f'))
	AS a (id, operation, refund);
INSERT INTO idempotency_pending (merchant_id, request_id, created_at)
SELECT 1, named('e' || id), '2026-11-01 10:00Z' FROM (VALUES ('71'), ('72'), ('73')) AS q (id);
INSERT INTO processor_events (merchant_id, id, attempt_id, body)
VALUES (1, 'evt_1', named('a99'), '{}');
`

// books are in order: payment f1 funds alice, c1 is a charge for order 7, d1 was
// declined and a1 is authorized. Of 5a a part was captured. Refund 5b gave some of it
// back, and 5c was declined.
const books = `
INSERT INTO merchants (id, name) VALUES (1, 'one'), (2, 'two');
INSERT INTO accounts (merchant_id, id, currency, overdraft_limit)
VALUES (1, 'world', 'USD', NULL), (1, 'alice', 'USD', 0), (1, 'shop', 'USD', 0),
	(1, 'idle', 'USD', 0), (1, 'bank', 'USD', NULL), (1, 'seller', 'USD', 0);

SELECT claim('fund', 'f1', 'ef1'), answer('ef1', 201, 'f1'), tell('bf1', 'succeeded', 'f1');
SELECT pay('f1', 'fund', 'succeeded', 'world', 'alice', 1000, NULL),
	post('f1', 'f1', 'world', 'alice', 1000);

SELECT claim('charge', 'c1', 'ec1'), answer('ec1', 201, 'c1'), tell('bc1', 'succeeded', 'c1');
SELECT pay('c1', 'charge', 'succeeded', 'alice', 'shop', 400, 'order 7'),
	post('c1', 'c1', 'alice', 'shop', 400);
INSERT INTO payment_references (merchant_id, reference, payment_id)
VALUES (1, 'order 7', named('c1'));

SELECT claim('decline', 'd1', 'ed1'), answer('ed1', 402, 'd1'), tell('bd1', 'declined', 'd1');
SELECT pay('d1', 'decline', 'declined', 'alice', 'shop', 9999, NULL);

SELECT claim('hold', 'a1', 'ea1'), answer('ea1', 201, 'a1'), tell('ba1', 'authorized', 'a1');
SELECT pay('a1', 'hold', 'authorized', 'alice', 'shop', 100, NULL);
UPDATE accounts SET held = 100, open_payments = 1 WHERE id = 'alice';
UPDATE accounts SET open_payments = 1 WHERE id = 'shop';

SELECT claim('order', '5a', 'e5a'), answer('e5a', 201, '5a'), tell('b50', 'authorized', '5a');
SELECT pay('5a', 'order', 'authorized', 'bank', 'seller', 200, NULL);
SELECT claim('capture', '5a', 'e5d', 'capture'), answer('e5d', 200, '5a'),
	tell('b5a', 'succeeded', '5a');
UPDATE payments SET status = 'succeeded', amount_captured = 150 WHERE id = named('5a');
SELECT post('5a', '5a', 'bank', 'seller', 150);
SELECT claim('back', '5a', 'e5b', 'refund'), answer('e5b', 201, '5a', '5b'),
	tell_refund('b5b', 'succeeded', '5a', '5b');
SELECT refund('5b', '5a', 'back', 'succeeded', 50), post('5b', '5a', 'seller', 'bank', 50);
UPDATE payments SET amount_refunded = 50 WHERE id = named('5a');
SELECT claim('back again', '5a', 'e5c', 'refund'), answer('e5c', 402, '5a'),
	tell_refund('b5c', 'declined', '5a', '5c');
SELECT refund('5c', '5a', 'back again', 'declined', 60);
`

// keepBooks writes the books, and checks that the role of the service finds them in order.
func keepBooks(t *testing.T, db *pgtest.DB) {
	t.Helper()
	if _, err := db.Pool.Exec(t.Context(), words+books); err != nil {
		t.Fatal(err)
	}
	var violations []audit.Violation
	err := pgx.BeginFunc(t.Context(), db.Pool, func(tx pgx.Tx) (err error) {
		if _, err := tx.Exec(t.Context(), `SET LOCAL ROLE paymentsvc_app`); err != nil {
			return err
		}
		violations, err = audit.Run(t.Context(), tx, 100)
		return err
	})
	if err != nil || len(violations) > 0 {
		t.Fatalf("the audit of good books reports %v, %v", violations, err)
	}
}

// superuser is a login that can switch the triggers off.
func superuser(t *testing.T, db *pgtest.DB) *pgx.Conn {
	t.Helper()
	admin, err := pgx.Connect(t.Context(), db.AdminURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close(context.Background()) })
	return admin
}

// afterBreaking runs the statements without triggers, audits the result, and rolls
// back. It returns a line for each violation.
func afterBreaking(t *testing.T, admin *pgx.Conn, breaks string, limit int) []string {
	t.Helper()
	tx, err := admin.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	if _, err := tx.Exec(t.Context(),
		`SET LOCAL session_replication_role = replica;`+breaks); err != nil {
		t.Fatalf("%s: %v", breaks, err)
	}
	violations, err := audit.Run(t.Context(), tx, limit)
	if err != nil {
		t.Fatal(err)
	}
	lines := make([]string, len(violations))
	for i, violation := range violations {
		if violation.Promise == "" {
			t.Errorf("%s has no comment, which is its promise", violation.Invariant)
		}
		invariant, _, _ := strings.Cut(violation.Invariant, "_")
		lines[i] = names.Replace(
			fmt.Sprintf("%s %s: %s", invariant, violation.Subject, violation.Detail))
	}
	return lines
}

// names turns the ids of named() into their names again.
var names = strings.NewReplacer(
	"00000000-0000-7000-8000-0000000000", "", "00000000-0000-7000-8000-000000000", "",
	"pay_000000000000700080000000000000", "pay_", "ref_000000000000700080000000000000", "ref_")
