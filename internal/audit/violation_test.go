package audit_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// breaches are ways to break the books, past every constraint and trigger, and how each
// line begins that the audit must say of it: the invariant, and whatever else cannot
// but be broken with it.
var breaches = []struct {
	name, breaks string
	want         []string
}{
	{
		name:   "the two sides of a journal are in two journals",
		breaks: `UPDATE entries SET journal_id = named('c9') WHERE account_id = 'shop'`,
		want: []string{
			"i1_journals_balance: merchant 1, journal c1: 1 entries in USD sum to -400",
			"i1_journals_balance: merchant 1, journal c9: 1 entries in USD sum to 400",
		},
	},
	{
		name: "a journal does not sum to zero",
		breaks: `UPDATE entries SET amount = 401, balance_after = 401 WHERE account_id = 'shop';
			UPDATE accounts SET balance = 401 WHERE id = 'shop'`,
		want: []string{
			"i1_journals_balance: merchant 1, journal c1: 2 entries in USD sum to 1",
			"i3_payments_are_posted: merchant 1, payment c1: succeeded, captured 400, refunded " +
				"0, but its entries sum to -400 on alice and 401 on shop",
		},
	},
	{
		name:   "a journal sums to zero, but over two currencies",
		breaks: `UPDATE entries SET currency = 'EUR' WHERE account_id = 'shop'`,
		want: []string{
			"i1_journals_balance: merchant 1, journal c1: 1 entries in EUR sum to 400",
			"i1_journals_balance: merchant 1, journal c1: 1 entries in USD sum to -400",
			"i4_no_orphans: merchant 1, account shop, entry 1: entry in EUR, account in USD, " +
				"payment in USD",
		},
	},
	{
		name: "a journal is one entry of nothing",
		breaks: `ALTER TABLE entries DROP CONSTRAINT entries_amount_not_zero;
			SELECT post('c9', 'c1', '', 'shop', 0)`,
		want: []string{"i1_journals_balance: merchant 1, journal c9: 1 entries in USD sum to 0"},
	},

	{
		name:   "a balance has more than its entries",
		breaks: `UPDATE accounts SET balance = balance + 1 WHERE id = 'shop'`,
		want: []string{
			"i2_balances_match_entries: merchant 1, account shop: balance 401 after entry 1, " +
				"but 1 entries up to 1 sum to 400",
		},
	},
	{
		name:   "a balance has no entries",
		breaks: `UPDATE accounts SET balance = 5 WHERE id = 'idle'`,
		want: []string{
			"i2_balances_match_entries: merchant 1, account idle: balance 5 after entry 0, but " +
				"0 entries up to 0 sum to 0",
		},
	},
	{
		name:   "an account counts more entries than there are",
		breaks: `UPDATE accounts SET last_sequence = 3 WHERE id = 'alice'`,
		want: []string{
			"i2_balances_match_entries: merchant 1, account alice: balance 600 after entry 3, " +
				"but 2 entries up to 2 sum to 600",
		},
	},
	{
		name: "a number is missing in the chain of entries",
		breaks: `UPDATE entries SET sequence = 3 WHERE account_id = 'alice' AND sequence = 2;
			UPDATE accounts SET last_sequence = 3 WHERE id = 'alice'`,
		want: []string{
			"i2_balances_match_entries: merchant 1, account alice, entry 3: follows entry 1",
			"i2_balances_match_entries: merchant 1, account alice: balance 600 after entry 3, " +
				"but 2 entries up to 3 sum to 600",
		},
	},
	{
		name: "two entries have one number",
		breaks: `ALTER TABLE entries DROP CONSTRAINT entries_pkey;
			UPDATE entries SET sequence = 1 WHERE account_id = 'alice'`,
		want: []string{
			"i2_balances_match_entries: merchant 1, account alice, entry 1: follows entry 1",
			"i2_balances_match_entries: merchant 1, account alice: balance 600 after entry 2, " +
				"but 2 entries up to 1 sum to 600",
		},
	},
	{
		name:   "an update was lost",
		breaks: `UPDATE entries SET balance_after = -400 WHERE account_id = 'alice' AND sequence = 2`,
		want: []string{
			"i2_balances_match_entries: merchant 1, account alice, entry 2: follows entry 1: " +
				"1000 and -400 do not make -400",
		},
	},
	{
		name:   "an entry is older than the one before it",
		breaks: `UPDATE entries SET at = '2026-11-01 09:59Z' WHERE account_id = 'alice' AND sequence = 2`,
		want: []string{
			"i2_balances_match_entries: merchant 1, account alice, entry 2: follows entry 1",
		},
	},

	{
		name: "a success moved nothing",
		breaks: `DELETE FROM entries WHERE payment_id = named('c1');
			UPDATE accounts SET balance = 1000, last_sequence = 1 WHERE id = 'alice';
			UPDATE accounts SET balance = 0, last_sequence = 0, last_entry_at = NULL WHERE id = 'shop'`,
		want: []string{
			"i3_payments_are_posted: merchant 1, payment c1: succeeded, captured 400, refunded " +
				"0, but its entries sum to 0 on alice and 0 on shop",
		},
	},
	{
		name:   "a success moved less than was captured",
		breaks: `UPDATE payments SET amount = 401, amount_captured = 401 WHERE id = named('c1')`,
		want: []string{
			"i3_payments_are_posted: merchant 1, payment c1: succeeded, captured 401, refunded " +
				"0, but its entries sum to -400 on alice and 400 on shop",
		},
	},
	{
		name:   "a refund moved nothing",
		breaks: `UPDATE payments SET amount_refunded = 1 WHERE id = named('c1')`,
		want: []string{
			"i3_payments_are_posted: merchant 1, payment c1: succeeded, captured 400, refunded " +
				"1, but its entries sum to -400 on alice and 400 on shop",
			"i7_caps_and_floors: merchant 1, payment c1: 1 refunded, but its refunds sum to 0",
		},
	},
	{
		name:   "a refund has the journal of another",
		breaks: `UPDATE entries SET journal_id = named('59') WHERE journal_id = named('5b')`,
		want: []string{
			"i3_payments_are_posted: merchant 1, refund 5b: succeeded, of 50, but the entries " +
				"of its journal bring the source 0",
		},
	},
	{
		name: "a declined refund moved its money",
		breaks: `SELECT post('5c', '5a', 'seller', 'bank', 60);
			UPDATE payments SET amount_refunded = 110 WHERE id = named('5a')`,
		want: []string{
			"i3_payments_are_posted: merchant 1, refund 5c: declined, of 60, but the entries of " +
				"its journal bring the source 60",
			"i7_caps_and_floors: merchant 1, payment 5a: 110 refunded, but its refunds sum to 50",
		},
	},
	{
		name:   "a decline moved its money",
		breaks: `SELECT post('d1', 'd1', 'alice', 'shop', 7)`,
		want: []string{
			"i3_payments_are_posted: merchant 1, payment d1: declined, captured 0, refunded 0, " +
				"but its entries sum to -7 on alice and 7 on shop",
		},
	},
	{
		name:   "a decline moved its money there and back",
		breaks: `SELECT post('d1', 'd1', 'alice', 'shop', 7); SELECT post('d9', 'd1', 'shop', 'alice', 7)`,
		want: []string{
			"i3_payments_are_posted: merchant 1, payment d1: declined, captured 0, refunded 0",
		},
	},
	{
		name:   "a decline moved the money of others",
		breaks: `SELECT post('d1', 'd1', 'world', 'idle', 7)`,
		want: []string{
			"i3_payments_are_posted: merchant 1, payment d1: declined, captured 0, refunded 0",
		},
	},
	{
		name:   "a success moved the money of others too",
		breaks: `SELECT post('c9', 'c1', 'world', 'idle', 7)`,
		want: []string{
			"i3_payments_are_posted: merchant 1, payment c1: succeeded, captured 400, refunded 0",
		},
	},

	{
		name:   "entries belong to no payment",
		breaks: `SELECT post('bad', 'bad', 'world', 'idle', 7)`,
		want: []string{
			"i4_no_orphans: merchant 1, account idle, entry 1: there is no payment bad",
			"i4_no_orphans: merchant 1, account world, entry 2: there is no payment bad",
		},
	},
	{
		name: "entries belong to another merchant's payment",
		breaks: `SELECT post('c9', 'c1', 'world', 'idle', 7);
			UPDATE entries SET merchant_id = 2, sequence = 1, balance_after = amount WHERE journal_id = named('c9');
			UPDATE accounts SET balance = -1000, last_sequence = 1 WHERE id = 'world';
			UPDATE accounts SET balance = 0, last_sequence = 0, last_entry_at = NULL WHERE id = 'idle';
			INSERT INTO accounts (merchant_id, id, currency, overdraft_limit, balance, last_sequence, last_entry_at)
			VALUES (2, 'world', 'USD', NULL, -7, 1, now()), (2, 'idle', 'USD', 0, 7, 1, now())`,
		want: []string{
			"i4_no_orphans: merchant 2, account idle, entry 1: there is no payment c1",
			"i4_no_orphans: merchant 2, account world, entry 1: there is no payment c1",
		},
	},
	{
		name:   "an account is gone",
		breaks: `DELETE FROM accounts WHERE id = 'shop'`,
		want: []string{
			"i4_no_orphans: merchant 1, account shop, entry 1: there is no such account",
			"i4_no_orphans: merchant 1, payment a1: account shop is missing or not in USD",
			"i4_no_orphans: merchant 1, payment c1: account shop is missing or not in USD",
			"i4_no_orphans: merchant 1, payment d1: account shop is missing or not in USD",
		},
	},
	{
		name:   "an account is in another currency than its entries",
		breaks: `UPDATE accounts SET currency = 'EUR' WHERE id = 'shop'`,
		want: []string{
			"i4_no_orphans: merchant 1, account shop, entry 1: entry in USD, account in EUR, " +
				"payment in USD",
			"i4_no_orphans: merchant 1, payment a1: account shop is missing or not in USD",
			"i4_no_orphans: merchant 1, payment c1: account shop is missing or not in USD",
			"i4_no_orphans: merchant 1, payment d1: account shop is missing or not in USD",
		},
	},
	{
		name:   "a payment is in another currency than its accounts",
		breaks: `UPDATE payments SET currency = 'EUR' WHERE id = named('d1')`,
		want: []string{
			"i4_no_orphans: merchant 1, payment d1: account alice is missing or not in EUR",
			"i4_no_orphans: merchant 1, payment d1: account shop is missing or not in EUR",
		},
	},

	{
		name:   "two payments have one key",
		breaks: `SELECT pay('d2', 'decline', 'declined', 'alice', 'shop', 9999, NULL), tell('bd2', 'declined', 'd2')`,
		want: []string{
			"i5_one_payment_per_key: merchant 1, payment d2: its key names payment d1",
			"i5_one_payment_per_key: merchant 1, payments of one key: d1, d2: 2 payments",
		},
	},
	{
		name: "one key was claimed twice",
		breaks: `ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_pkey;
			SELECT claim('decline', 'd1', 'ed2'), answer('ed2', 402, 'd1')`,
		want: []string{
			"i5_one_payment_per_key: merchant 1, keys of one name in scope client: ed1, ed2: 2 " +
				"claims",
		},
	},
	{
		name:   "a payment's key is gone",
		breaks: `DELETE FROM idempotency_keys WHERE key = 'decline'`,
		want: []string{
			"i5_one_payment_per_key: merchant 1, payment d1: its key is missing",
			"i6_answers_tell_the_truth: merchant 1, request ed1: an answer without a key",
		},
	},
	{
		name:   "a payment's key was given to another",
		breaks: `UPDATE idempotency_keys SET payment_id = named('f1') WHERE key = 'charge'`,
		want: []string{
			"i5_one_payment_per_key: merchant 1, payment c1: its key names payment f1",
			"i6_answers_tell_the_truth: merchant 1, request ec1: answered 201 at " +
				"'/payments/pay_c1', payment f1 is succeeded",
		},
	},
	{
		name:   "two live payments have one reference",
		breaks: `UPDATE payments SET reference = 'order 7' WHERE id = named('a1')`,
		want: []string{
			"i5_one_payment_per_key: merchant 1, live payments of one reference: a1, c1: 2 " +
				"payments",
			"i5_one_payment_per_key: merchant 1, payment a1: is live, but does not hold its " +
				"reference",
		},
	},
	{
		name:   "a live payment does not hold its reference",
		breaks: `DELETE FROM payment_references`,
		want: []string{
			"i5_one_payment_per_key: merchant 1, payment c1: is live, but does not hold its " +
				"reference",
		},
	},
	{
		name:   "a decline holds a reference",
		breaks: `INSERT INTO payment_references (merchant_id, reference, payment_id) VALUES (1, 'order 8', named('d1'))`,
		want: []string{
			"i5_one_payment_per_key: merchant 1, payment d1: holds a reference, but is not live " +
				"or has another one",
		},
	},

	{
		name:   "a refund has the key of a charge",
		breaks: `UPDATE refunds SET idempotency_key = 'charge' WHERE id = named('5c')`,
		want: []string{
			"i5_one_payment_per_key: merchant 1, refund 5c: its key names a charge of payment c1",
			"i6_answers_tell_the_truth: merchant 1, request e5c: answered 402 at " +
				"'/payments/pay_5a', payment 5a is succeeded",
		},
	},
	{
		name: "one key made two refunds",
		breaks: `ALTER TABLE refunds DROP CONSTRAINT refunds_one_per_key;
			UPDATE refunds SET idempotency_key = 'back' WHERE id = named('5c');
			DELETE FROM idempotency_answers WHERE request_id = named('e5c');
			DELETE FROM idempotency_keys WHERE request_id = named('e5c')`,
		want: []string{
			"i5_one_payment_per_key: merchant 1, refunds of one key: 5b, 5c: 2 refunds",
			"i6_answers_tell_the_truth: merchant 1, request e5b: answered 201 at " +
				"'/payments/pay_5a/refunds/ref_5b', payment 5a is succeeded",
		},
	},
	{
		name:   "a key points to no payment",
		breaks: `SELECT claim('lost', 'bad', 'ee1'), answer('ee1', 201, 'bad')`,
		want: []string{
			"i6_answers_tell_the_truth: merchant 1, request ee1: its key names payment bad, " +
				"which does not exist",
		},
	},
	{
		name:   "a success was answered as a decline",
		breaks: `UPDATE idempotency_answers SET status = 402 WHERE request_id = named('ec1')`,
		want: []string{
			"i6_answers_tell_the_truth: merchant 1, request ec1: answered 402 at " +
				"'/payments/pay_c1', payment c1 is succeeded",
		},
	},
	{
		name:   "a decline was answered as a success",
		breaks: `UPDATE idempotency_answers SET status = 201 WHERE request_id = named('ed1')`,
		want: []string{
			"i6_answers_tell_the_truth: merchant 1, request ed1: answered 201 at " +
				"'/payments/pay_d1', payment d1 is declined",
		},
	},
	{
		name:   "an answer points to another payment",
		breaks: `DELETE FROM idempotency_answers WHERE request_id = named('ec1'); SELECT answer('ec1', 201, 'f1')`,
		want: []string{
			"i6_answers_tell_the_truth: merchant 1, request ec1: answered 201 at " +
				"'/payments/pay_f1', payment c1 is succeeded",
		},
	},
	{
		name: "a capture was answered, and the payment is canceled",
		breaks: `ALTER TABLE payments DROP CONSTRAINT payments_captured_when_succeeded;
			UPDATE payments SET status = 'canceled' WHERE id = named('5a')`,
		want: []string{
			"i6_answers_tell_the_truth: merchant 1, request e5d: answered 200 at " +
				"'/payments/pay_5a', payment 5a is canceled",
			"i8_one_event_per_change: merchant 1, payment 5a: is canceled, with 0 events that " +
				"say so",
		},
	},
	{
		name:   "a declined refund was answered as a success",
		breaks: `UPDATE idempotency_answers SET status = 201 WHERE request_id = named('e5c')`,
		want: []string{
			"i6_answers_tell_the_truth: merchant 1, request e5c: answered 201 at " +
				"'/payments/pay_5a', payment 5a is succeeded",
		},
	},
	{
		name:   "a refund's answer points to another refund",
		breaks: `UPDATE idempotency_answers SET location = replace(location, '5b', '5c') WHERE request_id = named('e5b')`,
		want: []string{
			"i6_answers_tell_the_truth: merchant 1, request e5b: answered 201 at " +
				"'/payments/pay_5a/refunds/ref_5c', payment 5a is succeeded",
		},
	},
	{
		name:   "an answer has no key",
		breaks: `SELECT answer('ee1', 201, 'c1')`,
		want: []string{
			"i6_answers_tell_the_truth: merchant 1, request ee1: an answer without a key",
		},
	},
	{
		name: "transient answers were stored",
		breaks: `ALTER TABLE idempotency_answers DROP CONSTRAINT idempotency_answers_status_final;
			UPDATE idempotency_answers SET status = 409 WHERE request_id = named('ec1');
			UPDATE idempotency_answers SET status = 429 WHERE request_id = named('ed1');
			UPDATE idempotency_answers SET status = 503 WHERE request_id = named('ef1')`,
		want: []string{
			"i6_answers_tell_the_truth: merchant 1, request ec1: answered 409 at " +
				"'/payments/pay_c1', payment c1 is succeeded",
			"i6_answers_tell_the_truth: merchant 1, request ed1: answered 429 at " +
				"'/payments/pay_d1', payment d1 is declined",
			"i6_answers_tell_the_truth: merchant 1, request ef1: answered 503 at " +
				"'/payments/pay_f1', payment f1 is succeeded",
		},
	},

	{
		name: "a balance is below its floor",
		breaks: `ALTER TABLE accounts DROP CONSTRAINT accounts_balance_above_floor;
			UPDATE accounts SET overdraft_limit = 10 WHERE id = 'idle';
			UPDATE payments SET source_account = 'idle' WHERE id = named('c1');
			UPDATE entries SET account_id = 'idle', sequence = 1, balance_after = -400 WHERE account_id = 'alice' AND sequence = 2;
			UPDATE accounts SET balance = -400, last_sequence = 1, last_entry_at = now() WHERE id = 'idle';
			UPDATE accounts SET balance = 1000, last_sequence = 1 WHERE id = 'alice'`,
		want: []string{
			"i7_caps_and_floors: merchant 1, account idle: balance -400 less held 0 is below " +
				"the floor of -10",
		},
	},
	{
		name: "more is held than there is",
		breaks: `ALTER TABLE accounts DROP CONSTRAINT accounts_balance_above_floor;
			UPDATE accounts SET held = 611, overdraft_limit = 10 WHERE id = 'alice';
			UPDATE payments SET amount = 611 WHERE id = named('a1')`,
		want: []string{
			"i7_caps_and_floors: merchant 1, account alice: balance 600 less held 611 is below " +
				"the floor of -10",
		},
	},
	{
		name: "more was captured than authorized",
		breaks: `ALTER TABLE payments DROP CONSTRAINT payments_captured_within_amount;
			UPDATE payments SET amount = 399 WHERE id = named('c1')`,
		want: []string{
			"i7_caps_and_floors: merchant 1, payment c1: 400 of 399 captured, 0 refunded",
		},
	},
	{
		name: "more was refunded than captured",
		breaks: `ALTER TABLE payments DROP CONSTRAINT payments_refunded_within_captured;
			UPDATE accounts SET overdraft_limit = 1 WHERE id = 'shop';
			UPDATE payments SET amount_refunded = 401 WHERE id = named('c1');
			SELECT post('c9', 'c1', 'shop', 'alice', 401)`,
		want: []string{
			"i7_caps_and_floors: merchant 1, payment c1: 400 of 400 captured, 401 refunded",
			"i7_caps_and_floors: merchant 1, payment c1: 401 refunded, but its refunds sum to 0",
		},
	},
	{
		name:   "an open payment is not counted",
		breaks: `UPDATE accounts SET open_payments = 0 WHERE id = 'shop'`,
		want: []string{
			"i7_caps_and_floors: merchant 1, account shop: held 0 with 0 open payments, but its " +
				"authorized payments hold 0 and 1 are open",
		},
	},
	{
		name:   "money is held that no payment authorized",
		breaks: `UPDATE accounts SET held = 1 WHERE id = 'shop'`,
		want: []string{
			"i7_caps_and_floors: merchant 1, account shop: held 1 with 1 open payments, but its " +
				"authorized payments hold 0 and 1 are open",
		},
	},
	{
		name:   "an authorization is not held",
		breaks: `UPDATE accounts SET held = 0 WHERE id = 'alice'`,
		want: []string{
			"i7_caps_and_floors: merchant 1, account alice: held 0 with 1 open payments, but " +
				"its authorized payments hold 100 and 1 are open",
		},
	},

	{
		name:   "nobody is told of a success",
		breaks: `DELETE FROM events WHERE payment_id = named('c1')`,
		want: []string{
			"i8_one_event_per_change: merchant 1, payment c1: is succeeded, with 0 events that " +
				"say so",
		},
	},
	{
		name:   "a success is told twice",
		breaks: `SELECT tell('bc9', 'succeeded', 'c1')`,
		want: []string{
			"i8_one_event_per_change: merchant 1, payment c1: 2 events payment.succeeded",
			"i8_one_event_per_change: merchant 1, payment c1: is succeeded, with 2 events that " +
				"say so",
			"i12_transitions_are_legal: merchant 1, payment c1: succeeded after succeeded",
		},
	},
	{
		name:   "a success is told as a decline",
		breaks: `UPDATE events SET type = 'payment.declined' WHERE payment_id = named('c1')`,
		want: []string{
			"i8_one_event_per_change: merchant 1, payment c1: is succeeded, with 0 events that " +
				"say so",
		},
	},

	{
		name:   "nobody is told of a refund",
		breaks: `DELETE FROM events WHERE refund_id = named('5b')`,
		want: []string{
			"i8_one_event_per_change: merchant 1, refund 5b: is succeeded, with 0 events that " +
				"say so",
		},
	},
	{
		name:   "a refund is told twice",
		breaks: `SELECT tell_refund('b59', 'succeeded', '5a', '5b')`,
		want: []string{
			"i8_one_event_per_change: merchant 1, refund 5b: 2 events refund.succeeded",
			"i8_one_event_per_change: merchant 1, refund 5b: is succeeded, with 2 events that " +
				"say so",
		},
	},

	{
		name:   "an authorization outlives its end",
		breaks: `UPDATE payments SET authorized_until = '2026-11-02 10:00Z' WHERE id = named('a1')`,
		want: []string{
			"i9_nothing_is_stuck: merchant 1, payment a1: was to be captured or canceled by " +
				"2026-11-02 10:00:00+00",
		},
	},
	{
		name:   "a key was never answered",
		breaks: `DELETE FROM idempotency_answers WHERE request_id = named('ec1')`,
		want: []string{
			"i9_nothing_is_stuck: merchant 1, request ec1: claimed its key at 2026-11-01 " +
				"10:00:00+00 and was never answered",
		},
	},
	{
		name: "a key that is younger than the reaper's mark was never answered",
		breaks: `UPDATE idempotency_reaper SET answers_before = '2026-11-01 10:00Z';
			DELETE FROM idempotency_answers WHERE request_id = named('ec1')`,
		want: []string{
			"i9_nothing_is_stuck: merchant 1, request ec1: claimed its key at 2026-11-01 " +
				"10:00:00+00 and was never answered",
		},
	},
	{
		name: "an answer was reaped, which breaks nothing",
		breaks: `UPDATE idempotency_reaper SET answers_before = '2026-11-01 10:00:01Z';
			DELETE FROM idempotency_answers WHERE request_id = named('ec1')`,
	},

	{
		name:   "an event tells of no payment",
		breaks: `SELECT tell('be1', 'succeeded', 'bad')`,
		want: []string{
			"i12_transitions_are_legal: merchant 1, event be1: payment.succeeded of payment " +
				"bad, which does not exist",
		},
	},
	{
		name:   "an event tells of no refund",
		breaks: `SELECT tell_refund('be1', 'succeeded', '5a', '59')`,
		want: []string{
			"i12_transitions_are_legal: merchant 1, event be1: refund.succeeded of refund 59, " +
				"which its payment does not have",
		},
	},
	{
		name:   "a success became a decline",
		breaks: `SELECT tell('bc9', 'declined', 'c1')`,
		want: []string{
			"i12_transitions_are_legal: merchant 1, payment c1: declined after succeeded",
		},
	},
	{
		name: "a life begins with its end",
		breaks: `SELECT claim('void', 'f9', 'ef9'), answer('ef9', 201, 'f9'), tell('bf9', 'canceled', 'f9');
			SELECT pay('f9', 'void', 'canceled', 'world', 'alice', 1, NULL)`,
		want: []string{
			"i12_transitions_are_legal: merchant 1, payment f9: canceled after nothing",
		},
	},
	{
		name: "every legal life, which breaks nothing",
		breaks: `DELETE FROM events WHERE payment_id IN (named('d1'), named('a1'));
			SELECT tell('bd2', 'processing', 'd1'), tell('bd3', 'declined', 'd1'),
				tell('ba2', 'processing', 'a1'), tell('ba3', 'authorized', 'a1')`,
	},
}

func TestEveryBreachIsReportedAndNothingElse(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db)
	admin := superuser(t, db)
	for _, test := range breaches {
		t.Run(test.name, func(t *testing.T) {
			got := afterBreaking(t, admin, test.breaks, 100)
			slices.SortStableFunc(got, func(a, b string) int {
				if invariantOf(a) == invariantOf(b) {
					return strings.Compare(a, b)
				}
				return 0 // invariants come in their own order
			})
			if !slices.EqualFunc(got, test.want, strings.HasPrefix) {
				t.Errorf("the audit says\n\t%s\nand should say\n\t%s", strings.Join(got, "\n\t"),
					strings.Join(test.want, "\n\t"))
			}
		})
	}
}

func invariantOf(line string) string {
	invariant, _, _ := strings.Cut(line, ":")
	return invariant
}

// An invariant that is added belongs above.
func TestEveryInvariantIsSeenBroken(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	var seen []string
	for _, test := range breaches {
		for _, line := range test.want {
			seen = append(seen, invariantOf(line))
		}
	}
	var views []string
	if err := db.Pool.QueryRow(t.Context(),
		`SELECT array_agg(viewname::text) FROM pg_views WHERE schemaname = 'audit'`).
		Scan(&views); err != nil {
		t.Fatal(err)
	}
	for _, view := range views {
		if !slices.Contains(seen, view) {
			t.Errorf("no breach of %s is tested", view)
		}
	}
}
