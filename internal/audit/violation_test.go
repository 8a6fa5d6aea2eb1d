package audit_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// breaches break the books past every constraint and trigger: one for each condition of
// each view. want has a line for each violation that the audit must report, or its
// beginning. It includes the violations that cannot be avoided.
var breaches = []struct{ name, breaks, want string }{
	{"a journal does not sum to zero", `
		UPDATE entries SET amount = 401, balance_after = 401 WHERE account_id = 'shop';
		UPDATE accounts SET balance = 401 WHERE id = 'shop'`, `
		i1 journal c1: 2 entries in USD sum to 1
		i3 payment c1: succeeded, captured 400, refunded 0, but its entries sum to -400 on alice`},
	{"a journal sums to zero over two currencies", `
		UPDATE entries SET currency = 'EUR' WHERE account_id = 'shop'`, `
		i1 journal c1: 1 entries in EUR sum to 400
		i1 journal c1: 1 entries in USD sum to -400
		i4 account shop, entry 1: entry in EUR, account in USD, payment in USD`},
	{"a journal is one entry of nothing", `
		ALTER TABLE entries DROP CONSTRAINT entries_amount_not_zero;
		SELECT post('c9', 'c1', '', 'shop', 0)`, `
		i1 journal c9: 1 entries in USD sum to 0`},

	{"a balance has more than its entries", `
		UPDATE accounts SET balance = balance + 1 WHERE id = 'shop'`, `
		i2 account shop: balance 401 after entry 1, but 1 entries up to 1 sum to 400`},
	{"a balance has no entries", `
		UPDATE accounts SET balance = 5 WHERE id = 'idle'`, `
		i2 account idle: balance 5 after entry 0, but 0 entries up to 0 sum to 0`},
	{"an account counts more entries than there are", `
		UPDATE accounts SET last_sequence = 3 WHERE id = 'alice'`, `
		i2 account alice: balance 600 after entry 3, but 2 entries up to 2 sum to 600`},
	{"a number is missing in the chain of entries", `
		UPDATE entries SET sequence = 3 WHERE account_id = 'alice' AND sequence = 2;
		UPDATE accounts SET last_sequence = 3 WHERE id = 'alice'`, `
		i2 account alice, entry 3: follows entry 1
		i2 account alice: balance 600 after entry 3, but 2 entries up to 3 sum to 600`},
	{"an update was lost", `
		UPDATE entries SET balance_after = -400 WHERE account_id = 'alice' AND sequence = 2`, `
		i2 account alice, entry 2: follows entry 1: 1000 and -400 do not make -400`},
	{"an entry is older than the one before it", `
		UPDATE entries SET at = '2026-11-01 09:59Z' WHERE account_id = 'alice' AND sequence = 2`, `
		i2 account alice, entry 2: follows entry 1`},

	{"a success moved nothing", `
		DELETE FROM entries WHERE payment_id = named('c1');
		UPDATE accounts SET balance = 1000, last_sequence = 1 WHERE id = 'alice';
		UPDATE accounts SET balance = 0, last_sequence = 0, last_entry_at = NULL
		WHERE id = 'shop'`, `
		i3 payment c1: succeeded, captured 400, refunded 0, but its entries sum to 0 on alice`},
	{"a refund moved nothing", `
		UPDATE payments SET amount_refunded = 1 WHERE id = named('c1')`, `
		i3 payment c1: succeeded, captured 400, refunded 1, but its entries sum to -400 on alice
		i7 payment c1: 1 refunded and 0 being refunded, but its refunds sum to 0 and 0`},
	{"a refund has the journal of another", `
		UPDATE entries SET journal_id = named('59') WHERE journal_id = named('5b')`, `
		i3 refund 5b: succeeded, of 50, but the entries of its journal bring the source 0`},
	{"a declined refund moved its money", `
		SELECT post('5c', '5a', 'seller', 'bank', 60);
		UPDATE payments SET amount_refunded = 110 WHERE id = named('5a')`, `
		i3 refund 5c: declined, of 60, but the entries of its journal bring the source 60
		i7 payment 5a: 110 refunded and 0 being refunded, but its refunds sum to 50 and 0`},
	{"a decline moved its money there and back", `
		SELECT post('d1', 'd1', 'alice', 'shop', 7);
		SELECT post('d9', 'd1', 'shop', 'alice', 7)`, `
		i3 payment d1: declined, captured 0, refunded 0`},
	{"a success moved money of other accounts", `
		SELECT post('c9', 'c1', 'world', 'idle', 7)`, `
		i3 payment c1: succeeded, captured 400, refunded 0`},

	{"entries belong to no payment", `
		SELECT post('bad', 'bad', 'world', 'idle', 7)`, `
		i4 account idle, entry 1: there is no payment bad
		i4 account world, entry 2: there is no payment bad`},
	{"entries belong to another merchant's payment", `
		SELECT post('c9', 'c1', 'world', 'idle', 7);
		UPDATE entries SET merchant_id = 2, sequence = 1, balance_after = amount
		WHERE journal_id = named('c9');
		UPDATE accounts SET balance = -1000, last_sequence = 1 WHERE id = 'world';
		UPDATE accounts SET balance = 0, last_sequence = 0, last_entry_at = NULL WHERE id = 'idle';
		INSERT INTO accounts
			(merchant_id, id, currency, overdraft_limit, balance, last_sequence, last_entry_at)
		VALUES (2, 'world', 'USD', NULL, -7, 1, now()), (2, 'idle', 'USD', 0, 7, 1, now())`, `
		i4 account idle, entry 1: there is no payment c1
		i4 account world, entry 1: there is no payment c1`},
	{"an account is gone", `
		DELETE FROM accounts WHERE id = 'shop'`, `
		i4 account shop, entry 1: there is no such account
		i4 payment a1: account shop is missing or not in USD
		i4 payment c1: account shop is missing or not in USD
		i4 payment d1: account shop is missing or not in USD`},
	{"a payment is in another currency than its accounts", `
		UPDATE payments SET currency = 'EUR' WHERE id = named('d1')`, `
		i4 payment d1: account alice is missing or not in EUR
		i4 payment d1: account shop is missing or not in EUR`},

	{"two payments have one key", `
		SELECT pay('d2', 'decline', 'declined', 'alice', 'shop', 9999, NULL),
			tell('bd2', 'declined', 'd2')`, `
		i5 payment d2: its key names payment d1
		i5 payments of one key: d1, d2: 2 payments`},
	{"one key was claimed twice", `
		ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_pkey;
		SELECT claim('decline', 'd1', 'ed2'), answer('ed2', 402, 'd1')`, `
		i5 keys of one name in scope client: ed1, ed2: 2 claims`},
	{"a payment's key is gone", `
		DELETE FROM idempotency_keys WHERE key = 'decline'`, `
		i5 payment d1: its key is missing
		i6 request ed1: an answer without a key`},
	{"two live payments have one reference", `
		UPDATE payments SET reference = 'order 7' WHERE id = named('a1')`, `
		i5 live payments of one reference: a1, c1: 2 payments
		i5 payment a1: is live, but does not hold its reference`},
	{"a decline holds a reference", `
		INSERT INTO payment_references (merchant_id, reference, payment_id)
		VALUES (1, 'order 8', named('d1'))`, `
		i5 payment d1: holds a reference, but is not live or has another one`},
	{"a refund has the key of a charge", `
		UPDATE refunds SET idempotency_key = 'charge' WHERE id = named('5c')`, `
		i5 refund 5c: its key names a charge of payment c1
		i6 request e5c: answered 402 at '/payments/pay_5a', payment 5a is succeeded`},
	{"one key made two refunds", `
		ALTER TABLE refunds DROP CONSTRAINT refunds_one_per_key;
		UPDATE refunds SET idempotency_key = 'back' WHERE id = named('5c');
		DELETE FROM idempotency_answers WHERE request_id = named('e5c');
		DELETE FROM idempotency_keys WHERE request_id = named('e5c')`, `
		i5 refunds of one key: 5b, 5c: 2 refunds
		i6 request e5b: answered 201 at '/payments/pay_5a/refunds/ref_5b'`},

	{"a key points to no payment", `
		SELECT claim('lost', 'bad', 'ee1'), answer('ee1', 201, 'bad')`, `
		i6 request ee1: its key names payment bad, which does not exist`},
	{"a success was answered as a decline", `
		UPDATE idempotency_answers SET status = 402 WHERE request_id = named('ec1')`, `
		i6 request ec1: answered 402 at '/payments/pay_c1', payment c1 is succeeded`},
	{"a decline was answered as a success", `
		UPDATE idempotency_answers SET status = 201 WHERE request_id = named('ed1')`, `
		i6 request ed1: answered 201 at '/payments/pay_d1', payment d1 is declined`},
	{"an answer points to another payment", `
		DELETE FROM idempotency_answers WHERE request_id = named('ec1');
		SELECT answer('ec1', 201, 'f1')`, `
		i6 request ec1: answered 201 at '/payments/pay_f1', payment c1 is succeeded`},
	{"a capture was answered, and the payment is canceled", `
		ALTER TABLE payments DROP CONSTRAINT payments_captured_when_succeeded;
		UPDATE payments SET status = 'canceled', cancellation_reason = 'requested'
		WHERE id = named('5a')`, `
		i6 request e5d: answered 200 at '/payments/pay_5a', payment 5a is canceled
		i8 payment 5a: is canceled, with 0 events that say so`},
	{"a cancellation was asked for, and the payment says that it expired", `
		SELECT claim('void', 'a1', 'ea2', 'cancel'), answer('ea2', 200, 'a1'),
			tell('ba2', 'canceled', 'a1');
		UPDATE payments SET status = 'canceled', cancellation_reason = 'expired'
		WHERE id = named('a1');
		UPDATE accounts SET held = 0, open_payments = 0`, `
		i6 request ea2: answered 200 at '/payments/pay_a1', payment a1 is canceled, expired`},
	{"a declined refund was answered as a success", `
		UPDATE idempotency_answers SET status = 201 WHERE request_id = named('e5c')`, `
		i6 request e5c: answered 201 at '/payments/pay_5a', payment 5a is succeeded`},
	{"a refund's answer points to another refund", `
		UPDATE idempotency_answers SET location = replace(location, '5b', '5c')
		WHERE request_id = named('e5b')`, `
		i6 request e5b: answered 201 at '/payments/pay_5a/refunds/ref_5c'`},
	{"a transient answer was stored", `
		ALTER TABLE idempotency_answers DROP CONSTRAINT idempotency_answers_status_final;
		UPDATE idempotency_answers SET status = 409 WHERE request_id = named('ec1')`, `
		i6 request ec1: answered 409 at '/payments/pay_c1', payment c1 is succeeded`},

	{"more is held than there is", `
		ALTER TABLE accounts DROP CONSTRAINT accounts_balance_above_floor;
		UPDATE accounts SET held = 611, overdraft_limit = 10 WHERE id = 'alice';
		UPDATE payments SET amount = 611 WHERE id = named('a1')`, `
		i7 account alice: balance 600 less held 611 is below the floor of -10`},
	{"a balance and the amount held are more than a JSON reader has exactly", `
		ALTER TABLE accounts DROP CONSTRAINT accounts_balance_range;
		ALTER TABLE accounts DROP CONSTRAINT accounts_held_range;
		ALTER TABLE entries DROP CONSTRAINT entries_balance_after_range;
		SELECT post('c9', 'c1', 'bank', 'shop', 9007199254740592);
		UPDATE accounts SET held = 9007199254740992, open_payments = 1 WHERE id = 'world'`, `
		i3 payment c1: succeeded
		i7 account shop: balance 9007199254740992 or held 0 is beyond ±9007199254740991
		i7 account world: balance -1000 or held 9007199254740992 is beyond ±9007199254740991
		i7 account world: held 9007199254740992 with 1 open payments`},
	{"more was captured than authorized", `
		ALTER TABLE payments DROP CONSTRAINT payments_captured_within_amount;
		UPDATE payments SET amount = 399 WHERE id = named('c1')`, `
		i7 payment c1: 400 of 399 captured, 0 refunded`},
	{"more was refunded than captured", `
		ALTER TABLE payments DROP CONSTRAINT payments_refunded_within_captured;
		UPDATE accounts SET overdraft_limit = 1 WHERE id = 'shop';
		UPDATE payments SET amount_refunded = 401 WHERE id = named('c1');
		SELECT post('c9', 'c1', 'shop', 'alice', 401)`, `
		i7 payment c1: 400 of 400 captured, 401 refunded
		i7 payment c1: 401 refunded and 0 being refunded, but its refunds sum to 0 and 0`},
	{"an open payment is not counted", `
		UPDATE accounts SET open_payments = 0 WHERE id = 'shop'`, `
		i7 account shop: held 0 with 0 open payments, but its payments and refunds hold 0 and 1`},
	{"an authorization is not held", `
		UPDATE accounts SET held = 0 WHERE id = 'alice'`, `
		i7 account alice: held 0 with 1 open payments, but its payments and refunds hold 100 and 1`},

	{"a success has no event", `
		DELETE FROM events WHERE payment_id = named('c1')`, `
		i8 payment c1: is succeeded, with 0 events that say so`},
	{"a success has two events", `
		SELECT tell('bc9', 'succeeded', 'c1')`, `
		i8 payment c1: 2 events payment.succeeded
		i8 payment c1: is succeeded, with 2 events that say so
		i12 payment c1: succeeded after succeeded`},
	{"a refund has no event", `
		DELETE FROM events WHERE refund_id = named('5b')`, `
		i8 refund 5b: is succeeded, with 0 events that say so`},
	{"the fan-out passed over an event", hook + `
		INSERT INTO feed_cursors (merchant_id, consumer, transaction_id)
		VALUES (1, 'webhooks', '9223372036854775807')`, `
		i8 event b5b: endpoint hook subscribes to refund.succeeded, and the event was not passed on`},
	{"the fan-out has not come to an event, which breaks nothing", hook + `
		INSERT INTO feed_cursors (merchant_id, consumer) VALUES (1, 'webhooks')`, ``},
	{"an endpoint has no cursor", hook, `
		i8 webhook endpoint hook: there is no cursor, so it gets no events`},

	{"an authorization outlives its end", `
		UPDATE payments SET authorized_until = '2026-11-02 10:00Z' WHERE id = named('a1')`, `
		i9 payment a1: was to be captured or canceled by 2026-11-02 10:00:00+00`},
	{"a key as old as the reaper's mark was never answered", `
		UPDATE idempotency_reaper SET answers_before = '2026-11-01 10:00Z';
		DELETE FROM idempotency_answers WHERE request_id = named('ec1')`, `
		i9 request ec1: claimed its key at 2026-11-01 10:00:00+00 and was never answered`},
	{"an answer was reaped, which breaks nothing", `
		UPDATE idempotency_reaper SET answers_before = '2026-11-01 10:00:01Z';
		DELETE FROM idempotency_answers WHERE request_id = named('ec1')`, ``},

	{"payments are at the processor, which breaks nothing", atProcessor, ``},
	{"what is at the processor is not held", atProcessor + `
		UPDATE accounts SET held = 0 WHERE id = 'idle'`, `
		i7 account idle: held 0 with 3 open payments, but its payments and refunds hold 10 and 3`},
	{"a refund at the processor is not counted", atProcessor + `
		UPDATE payments SET amount_refunding = 0 WHERE id = named('73')`, `
		i7 payment 73: 0 refunded and 0 being refunded, but its refunds sum to 0 and 10`},
	{"refunds at the processor are more than was captured", atProcessor + `
		ALTER TABLE payments DROP CONSTRAINT payments_refunded_within_captured;
		UPDATE payments SET amount_refunding = 31 WHERE id = named('73');
		UPDATE refunds SET amount = 31 WHERE id = named('7f');
		UPDATE accounts SET held = 31, overdraft_limit = 1 WHERE id = 'idle'`, `
		i7 payment 73: 30 of 30 captured, 0 refunded`},
	{"attempts at the processor are gone", atProcessor + `
		DELETE FROM processor_attempts`, `
		i9 payment 71: is processing, but no attempt is under way
		i9 payment 72: is authorized, capture, but no attempt is under way
		i9 refund 7f: is processing, but no attempt is under way
		i9 request e71: is still at the processor, but no attempt is under way
		i9 request e72: is still at the processor, but no attempt is under way
		i9 request e73: is still at the processor, but no attempt is under way`},
	{"the attempt on an authorization asks for something else", atProcessor + `
		UPDATE processor_attempts SET operation = 'cancel' WHERE id = named('a72')`, `
		i9 attempt a72: is open, but its cancel is not waited for
		i9 payment 72: is authorized, capture, but no attempt is under way`},
	{"a key is not marked as being at the processor", atProcessor + `
		DELETE FROM idempotency_pending WHERE request_id = named('e71')`, `
		i9 request e71: attempt a71 is open, but its key is not marked
		i9 request e71: claimed its key at 2026-11-01 10:00:00+00 and was never answered`},
	{"payments went on without the end of their attempts", atProcessor + `
		UPDATE payments SET status = 'declined', decline_code = 'card_declined'
		WHERE id = named('71');
		UPDATE payments SET pending_operation = NULL WHERE id = named('72');
		UPDATE refunds SET status = 'declined', decline_code = 'card_declined'
		WHERE id = named('7f');
		UPDATE payments SET amount_refunding = 0 WHERE id = named('73');
		UPDATE accounts SET open_payments = 1 WHERE id IN ('processor:stripe:USD', 'idle');
		UPDATE accounts SET held = 0 WHERE id = 'idle';
		SELECT tell('b74', 'declined', '71'), tell_refund('b75', 'declined', '73', '7f')`, `
		i9 attempt a71: is open, but its charge is not waited for
		i9 attempt a72: is open, but its capture is not waited for
		i9 attempt a73: is open, but its refund is not waited for`},
	{"no instance works on an attempt", atProcessor + `
		UPDATE processor_attempts SET due_at = '2026-11-02 10:00Z'
		WHERE id IN (named('a71'), named('a72'));
		UPDATE processor_attempts SET state = 'review' WHERE id = named('a72')`, `
		i9 attempt a71: was to be worked on at 2026-11-02 10:00:00+00`},
	{"an event of the processor was applied, and is still kept", atProcessor + `
		SELECT claim('evt_1', '71', 'ee1', 'settle'), answer('ee1', 200, '71');
		UPDATE idempotency_keys SET scope = 'processor:stripe' WHERE key = 'evt_1'`, `
		i10 event evt_1: was applied and is still kept`},
	{"a request was answered before its attempt was settled", atProcessor + `
		SELECT answer('e71', 201, '71')`, `
		i6 request e71: answered 201 at '/payments/pay_71', payment 71 is processing
		i10 attempt a71: is open, but its request has an answer`},

	{"an event has no payment", `
		SELECT tell('be1', 'succeeded', 'bad')`, `
		i12 event be1: payment.succeeded of payment bad, which does not exist`},
	{"an event has no refund", `
		SELECT tell_refund('be1', 'succeeded', '5a', '59')`, `
		i12 event be1: refund.succeeded of refund 59, which its payment does not have`},
	{"a success became a decline", `
		SELECT tell('bc9', 'declined', 'c1')`, `
		i12 payment c1: declined after succeeded`},
	{"a payment begins with its end", `
		SELECT claim('void', 'f9', 'ef9'), answer('ef9', 201, 'f9'), tell('bf9', 'canceled', 'f9');
		SELECT pay('f9', 'void', 'canceled', 'world', 'alice', 1, NULL)`, `
		i12 payment f9: canceled after nothing`},
	{"legal transitions, which break nothing", `
		DELETE FROM events WHERE payment_id IN (named('d1'), named('a1'));
		SELECT tell('bd2', 'processing', 'd1'), tell('bd3', 'declined', 'd1'),
			tell('ba2', 'processing', 'a1'), tell('ba3', 'authorized', 'a1')`, ``},
}

// hook is an endpoint from before all events.
const hook = `
	INSERT INTO webhook_endpoints (merchant_id, id, url, event_types, secret,
		since_transaction_id, changed_transaction_id)
	VALUES (1, 'hook', 'https://example.com', ARRAY['refund.succeeded'],
		'whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz', '3', '3');`

func TestEveryBreachIsReportedAndNothingElse(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db)
	admin := superuser(t, db)
	for _, test := range breaches {
		t.Run(test.name, func(t *testing.T) {
			got, want := afterBreaking(t, admin, test.breaks, 100), linesOf(test.want)
			slices.SortStableFunc(got, func(a, b string) int {
				if invariantOf(a) == invariantOf(b) {
					return strings.Compare(a, b)
				}
				return 0 // invariants come in their own order
			})
			if !slices.EqualFunc(got, want, strings.HasPrefix) {
				t.Errorf("the audit reports\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"),
					strings.Join(want, "\n\t"))
			}
		})
	}
}

func linesOf(text string) (lines []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

func invariantOf(line string) string {
	invariant, _, _ := strings.Cut(line, " ")
	return invariant
}

// A new invariant needs a breach above.
func TestEveryInvariantIsSeenBroken(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	seen := map[string]bool{}
	for _, test := range breaches {
		for _, line := range linesOf(test.want) {
			seen[invariantOf(line)] = true
		}
	}
	var views []string
	if err := db.Pool.QueryRow(t.Context(), `
		SELECT array_agg(substring(viewname FROM '^i[0-9]+'))
		FROM pg_views
		WHERE schemaname = 'audit'`).Scan(&views); err != nil {
		t.Fatal(err)
	}
	for _, view := range views {
		if !seen[view] {
			t.Errorf("no breach of %s is tested", view)
		}
	}
}
