package migrations_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// The database refuses each breach of a rule, and accepts what comes close to one.

// books are there before each case: merchant 1 has a payment a001 of 5 from world
// to shop, with its claim k1, reference, entries, event and answer. Merchant 2 has the
// same accounts, unused.
const books = `
INSERT INTO merchants (id, name) VALUES (1, 'one'), (2, 'two');
INSERT INTO accounts
	(merchant_id, id, currency, overdraft_limit, balance, last_sequence, last_entry_at)
VALUES
	(1, 'world', 'USD', NULL, -5, 1, '2026-11-01'), (1, 'shop', 'USD', 0, 5, 1, '2026-11-01'),
	(2, 'world', 'USD', NULL, 0, 0, NULL), (2, 'shop', 'USD', 0, 0, 0, NULL);
INSERT INTO idempotency_keys
	(merchant_id, scope, key, operation, fingerprint, fingerprint_version, request_id, payment_id,
	created_at)
VALUES (1, 'client', 'k1', 'charge', sha256('k1'), 1, '00000000-0000-7000-8000-00000000e001',
	'00000000-0000-7000-8000-00000000a001', '2026-11-01');
INSERT INTO payment_references (merchant_id, reference, payment_id)
VALUES (1, 'order 1', '00000000-0000-7000-8000-00000000a001');
INSERT INTO payments
	(merchant_id, id, status, amount, currency, source_account, destination_account,
	amount_captured, reference, description, metadata, idempotency_key, created_at)
VALUES (1, '00000000-0000-7000-8000-00000000a001', 'succeeded', 5, 'USD', 'world', 'shop', 5,
	'order 1', '', '{}', 'k1', '2026-11-01');
INSERT INTO entries
	(merchant_id, account_id, sequence, journal_id, payment_id, currency, amount,
	balance_after, at)
SELECT 1, account_id, 1, '00000000-0000-7000-8000-00000000a001',
	'00000000-0000-7000-8000-00000000a001', 'USD', amount, amount, '2026-11-01'
FROM (VALUES ('world', -5), ('shop', 5)) AS moved (account_id, amount);
INSERT INTO events (merchant_id, id, type, payment_id, payment_version, data, created_at)
VALUES (1, '00000000-0000-7000-8000-00000000b001', 'payment.succeeded',
	'00000000-0000-7000-8000-00000000a001', 1, '{}', '2026-11-01');
INSERT INTO idempotency_answers (merchant_id, request_id, status, location, body, created_at)
VALUES (1, '00000000-0000-7000-8000-00000000e001', 201,
	'/payments/pay_0000000000007000800000000000a001', '{}', '2026-11-01');
`

// insert copies a row, or an empty one, with the changes of the documents.
func insert(table, like string, documents ...string) string {
	return fmt.Sprintf(`INSERT INTO %[1]s SELECT (jsonb_populate_record(model, %[3]s)).*
		FROM (SELECT NULL::%[1]s) AS none LEFT JOIN %[1]s AS model ON %[2]s;`,
		table, like, "'"+strings.Join(documents, "'::jsonb || '")+"'::jsonb")
}

// account is a new account like the shop.
func account(document string) string {
	const shop = `model.merchant_id = 1 AND model.id = 'shop'`
	return insert("accounts", shop, `{"id": "new"}`, document)
}

// claim takes key k2 for payment a002.
func claim(document string) string {
	return insert("idempotency_keys", `model.key = 'k1'`, `{"key": "k2",
		"payment_id": "00000000-0000-7000-8000-00000000a002",
		"request_id": "00000000-0000-7000-8000-00000000e002"}`, document)
}

// pay makes payment a002 under key k2, like payment a001 but without a reference.
func pay(document string) string {
	return insert("payments", `model.idempotency_key = 'k1'`, `{"idempotency_key": "k2",
		"reference": null, "id": "00000000-0000-7000-8000-00000000a002"}`, document)
}

// payment is a claim and its payment.
func payment(document string) string { return claim(`{}`) + pay(document) }

// refund is a refund of 2 of payment a001 under key k2, which is claimed for it.
func refund(document string) string {
	return claim(`{"operation": "refund", "payment_id": "00000000-0000-7000-8000-00000000a001"}`) +
		refundOnly(document)
}

func refundOnly(document string) string {
	return insert("refunds", `false`, `{"merchant_id": 1,
		"id": "00000000-0000-7000-8000-00000000c001",
		"payment_id": "00000000-0000-7000-8000-00000000a001", "amount": 2, "status": "succeeded",
		"reason": "", "idempotency_key": "k2", "created_at": "2026-11-02"}`, document)
}

// post writes entries by one statement. Each is "merchant journal account sequence
// currency amount".
func post(entries ...string) string {
	rows := make([]string, len(entries))
	for i, entry := range entries {
		rows[i] = "('" + strings.Join(strings.Fields(entry), "', '") + "')"
	}
	return `INSERT INTO entries
			(merchant_id, account_id, sequence, journal_id, payment_id, currency, amount,
			balance_after, at)
		SELECT e.merchant::bigint, e.account, e.sequence::bigint,
			('00000000-0000-7000-8000-00000000000' || e.journal)::uuid,
			'00000000-0000-7000-8000-00000000a001', e.currency, e.amount::bigint, 0, '2026-11-01'
		FROM (VALUES ` + strings.Join(rows, ", ") + `)
			AS e (merchant, journal, account, sequence, currency, amount)`
}

func answer(status int) string {
	return insert("idempotency_answers", `true`,
		fmt.Sprintf(`{"request_id": "00000000-0000-7000-8000-00000000e002", "status": %d}`,
			status))
}

func event(document string) string {
	return insert("events", `true`, `{"id": "00000000-0000-7000-8000-00000000b002"}`, document)
}

// endpoint is a webhook endpoint of merchant 1.
func endpoint(document string) string {
	return insert("webhook_endpoints", `false`, `{"merchant_id": 1, "id": "hook",
		"uid": "00000000-0000-4000-8000-00000000f001", "url": "https://example.com/hook",
		"status": "enabled", "secret": "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", "version": 1,
		"since_transaction_id": 9, "changed_transaction_id": 9, "created_at": "2026-11-01"}`,
		document)
}

func delivery(document string) string {
	return insert("webhook_deliveries", `false`, `{"merchant_id": 1,
		"endpoint_uid": "00000000-0000-4000-8000-00000000f001", "transaction_id": 9,
		"event_id": "00000000-0000-7000-8000-00000000b001", "is_test": false,
		"status": "pending", "attempts": 0, "begun_at": "2026-11-01",
		"next_attempt_at": "2026-11-01"}`, document)
}

func attempt(document string) string {
	return insert("webhook_attempts", `false`, `{"merchant_id": 1,
		"endpoint_uid": "00000000-0000-4000-8000-00000000f001",
		"id": "00000000-0000-7000-8000-00000000f002", "transaction_id": 9,
		"event_id": "00000000-0000-7000-8000-00000000b001", "number": 1, "status_code": 200,
		"latency_ms": 1, "response": "", "at": "2026-11-01"}`, document)
}

// byCard makes payment a002 under key k2, whose card the processor is asked for.
func byCard(document string) string { return claim(`{}`) + payByCard(document) }

func payByCard(document string) string {
	return insert("payments", `model.idempotency_key = 'k1'`, `{"idempotency_key": "k2",
		"reference": null, "id": "00000000-0000-7000-8000-00000000a002",
		"source_account": "processor:stripe:USD", "payment_method": "pm_card_visa",
		"status": "processing", "amount_captured": 0}`, document)
}

// ask is the attempt of payment a001 at the processor.
func ask(document string) string {
	return insert("processor_attempts", `false`, `{"merchant_id": 1,
		"id": "00000000-0000-8000-8000-00000000d001", "operation": "capture",
		"payment_id": "00000000-0000-7000-8000-00000000a001",
		"request_id": "00000000-0000-7000-8000-00000000e001", "amount": 5, "state": "open",
		"generation": 1, "token": 1, "due_at": "2026-11-01", "tries": 0, "problem": "",
		"created_at": "2026-11-01"}`, document)
}

func processorEvent(document string) string {
	return insert("processor_events", `false`, `{"merchant_id": 1, "id": "evt_1",
		"attempt_id": "00000000-0000-8000-8000-00000000d001", "body": "\\x7b7d",
		"received_at": "2026-11-01"}`, document)
}

const markPending = `INSERT INTO idempotency_pending
	VALUES (1, '00000000-0000-7000-8000-00000000e002', '2026-11-01');`

func twice(statement string) string { return statement + statement }

func reference(merchant int, name string) string {
	return fmt.Sprintf(`INSERT INTO payment_references VALUES (%d, '%s', gen_random_uuid())`,
		merchant, name)
}

// long is a JSON string of n characters of two bytes.
func long(n int) string { return `"` + strings.Repeat("ü", n) + `"` }

// refusal is a constraint or trigger, and attempts that it refuses.
type refusal struct {
	by       string
	attempts []string
}

// refusals are for the role of the service.
var refusals = []refusal{
	{"merchants_id_positive", []string{`INSERT INTO merchants VALUES (0, 'none')`}},
	{"merchants_name_length", []string{`INSERT INTO merchants VALUES (3, '')`}},
	{"merchants_pkey", []string{`INSERT INTO merchants VALUES (2, 'other')`}},
	{"api_keys_secret_is_sha256", []string{
		// A credential kept in clear.
		`INSERT INTO api_keys VALUES (1, gen_random_uuid(), 'sk_secret')`,
	}},
	{"api_keys_secret_unique", []string{
		// One credential for two merchants.
		`INSERT INTO api_keys VALUES
			(1, gen_random_uuid(), sha256('s')), (2, gen_random_uuid(), sha256('s'))`,
	}},
	{"api_keys_pkey", []string{
		`INSERT INTO api_keys VALUES
			(1, '00000000-0000-7000-8000-00000000d001', sha256('s')),
			(1, '00000000-0000-7000-8000-00000000d001', sha256('t'))`, // two credentials of one id
	}},
	{"api_keys_merchant_exists", []string{
		// A credential of no merchant.
		`INSERT INTO api_keys VALUES (3, gen_random_uuid(), sha256('s'))`,
	}},
	{"accounts_pkey", []string{account(`{"id": "shop"}`)}}, // a second account of one id
	{"accounts_merchant_exists", []string{account(`{"merchant_id": 3}`)}},
	{"accounts_balance_above_floor", []string{
		account(`{"balance": -1}`), // a balance below zero
		// More held than with the overdraft.
		account(`{"held": 106, "open_payments": 1, "overdraft_limit": 100}`),
		`UPDATE accounts SET balance = balance - 6 WHERE id = 'shop'`, // a posting below the floor
		`UPDATE accounts SET overdraft_limit = 4 WHERE id = 'world'`,  // a limit above the balance
	}},
	{"accounts_balance_range", []string{
		account(`{"balance": 9007199254740992}`),
		account(`{"balance": -9007199254740992, "overdraft_limit": null}`),
	}},
	{"accounts_held_range", []string{
		`UPDATE accounts SET held = held - 1`,
		account(`{"held": 9007199254740992, "open_payments": 1, "overdraft_limit": null}`),
	}},
	{"accounts_held_for_open_payments", []string{account(`{"held": 1}`)}},
	{"accounts_open_payments_not_negative", []string{account(`{"open_payments": -1}`)}},
	{"accounts_closed_has_nothing_open", []string{
		account(`{"status": "closed", "open_payments": 1}`),
	}},
	{"accounts_status_has_new_version", []string{
		// An account that opens under the version that was closed.
		account(`{"status": "closed"}`) +
			`UPDATE accounts SET status = 'open' WHERE id = 'new'`,
		// An account that is closed under an older version.
		`UPDATE accounts SET status = 'closed', version = version - 1`,
	}},
	{"accounts_overdraft_limit_range", []string{account(`{"overdraft_limit": -1}`)}},
	{"accounts_entries_have_a_time", []string{account(`{"last_entry_at": null}`)}},
	{"accounts_id_form", []string{
		account(`{"id": ""}`),                                // an empty id
		account(`{"id": "-shop"}`),                           // an id that begins with a sign
		account(`{"id": "büro"}`),                            // an id with a letter beyond ASCII
		account(`{"id": "shop\n"}`),                          // an id that ends in a line feed
		account(`{"id": "` + strings.Repeat("a", 65) + `"}`), // an id of 65 characters
	}},
	{"accounts_currency_form", []string{account(`{"currency": "usd"}`)}},
	{"accounts_status_known", []string{account(`{"status": "frozen"}`)}}, // an unknown status
	{"accounts_name_length", []string{account(`{"name": ` + long(201) + `}`)}},
	{"entries_balanced", []string{
		post("1 1 world 2 USD -7"),                     // one entry alone
		post("1 1 world 2 USD -7", "1 1 shop 2 USD 8"), // a journal that does not sum to zero
		post("1 1 world 2 USD -7", "1 1 shop 2 USD 7",
			"1 2 world 3 USD -7", "1 2 shop 3 USD 6"), // a bad journal beside a good one
		post("1 1 world 2 USD -7", "1 2 shop 2 USD 7"), // two bad journals that sum to zero
		post("1 1 world 2 USD -7", "1 1 shop 2 EUR 7"), // two currencies that sum to zero
		post("1 1 world 2 USD -7", "2 1 shop 2 USD 7"), // two merchants that sum to zero
	}},
	{"entries_amount_range", []string{
		post("1 1 world 2 USD -9007199254740992", "1 1 shop 2 USD 9007199254740992"),
	}},
	{"entries_balance_after_range", []string{
		insert("entries", "model.account_id = 'shop'",
			`{"sequence": 2, "balance_after": 9007199254740992}`),
	}},
	{"entries_amount_not_zero", []string{post("1 1 shop 2 USD 0")}}, // an entry of nothing
	{"entries_sequence_from_one", []string{post("1 1 world 0 USD -7", "1 1 shop 2 USD 7")}},
	{"entries_pkey", []string{post("1 1 world 1 USD -7", "1 1 shop 2 USD 7")}},
	{"idempotency_keys_pkey", []string{claim(`{"key": "k1"}`)}}, // a key that is taken
	{"idempotency_keys_key_length", []string{
		claim(`{"key": ""}`),                // an empty key
		claim(`{"key": ` + long(128) + `}`), // a key of 256 bytes
	}},
	{"idempotency_keys_fingerprint_is_sha256", []string{claim(`{"fingerprint": "\\x00"}`)}},
	{"idempotency_keys_scope_known", []string{claim(`{"scope": "other"}`)}}, // an unknown scope
	{"idempotency_keys_operation_known", []string{claim(`{"operation": "void"}`)}},
	{"idempotency_keys_kept", []string{
		`DELETE FROM idempotency_keys`,               // a committed claim taken back
		claim(`{}`) + `DELETE FROM idempotency_keys`, // its own claim and another taken back
	}},
	// A retry must be able to get another answer after a transient one.
	{"idempotency_answers_status_final", []string{
		answer(199), answer(300), answer(400), answer(401), answer(403), answer(409),
		answer(500), answer(503),
	}},
	{"idempotency_answers_pkey", []string{answer(201) + answer(201)}},
	{"payments_amount_range", []string{
		payment(`{"amount": 0, "amount_captured": 0, "status": "declined",
			"decline_code": "insufficient_funds"}`), // nothing to pay
		payment(`{"amount": 9007199254740992}`), // beyond JSON
	}},
	{"payments_captured_within_amount", []string{
		// more captured than authorized
		payment(`{"amount_captured": 6}`),
		byCard(`{"amount_captured": -1}`), // less than nothing captured
	}},
	{"payments_refunded_within_captured", []string{
		payment(`{"amount_refunded": 6}`),  // more refunded than captured
		payment(`{"amount_refunded": -1}`), // less than nothing refunded
		// Refunds at the processor that are too much, or less than nothing.
		byCard(`{"status": "succeeded", "amount_captured": 5, "amount_refunded": 3,
			"amount_refunding": 3}`),
		byCard(`{"status": "succeeded", "amount_captured": 5, "amount_refunding": -1}`),
		// Refunds that are too much together.
		`UPDATE payments SET amount_refunded = 3;
			UPDATE payments SET amount_refunded = amount_refunded + 3`,
	}},
	{"payments_captured_when_succeeded", []string{
		payment(`{"amount_captured": 0}`), // succeeded without a capture
		// Captured, but authorized.
		payment(`{"status": "authorized", "authorized_until": "2026-11-08"}`),
		// Captured, but canceled.
		payment(`{"status": "canceled", "cancellation_reason": "requested"}`),
	}},
	{"payments_authorized_has_an_end", []string{
		payment(`{"status": "authorized", "amount_captured": 0}`),
	}},
	{"payments_decline_has_a_code", []string{
		payment(`{"status": "declined", "amount_captured": 0}`), // declined without a code
		payment(`{"decline_code": "insufficient_funds"}`),       // succeeded with a decline code
	}},
	{"payments_cancellation_has_a_reason", []string{
		payment(`{"status": "canceled", "amount_captured": 0}`), // canceled without a reason
		payment(`{"cancellation_reason": "requested"}`),         // not canceled, with a reason
	}},
	{"payments_cancellation_reason_known", []string{
		payment(`{"status": "canceled", "amount_captured": 0, "cancellation_reason": "lost"}`),
	}},
	{"payments_decline_code_known", []string{
		byCard(`{"status": "declined", "decline_code": "do_not_honor"}`),
	}},
	{"payments_card_has_a_clearing_account", []string{
		byCard(`{"source_account": "world"}`),                 // a card and an account
		payment(`{"source_account": "processor:stripe:USD"}`), // no card
	}},
	{"payments_payment_method_form", []string{
		byCard(`{"payment_method": "4242 4242"}`), byCard(`{"payment_method": ""}`),
	}},
	{"payments_only_cards_wait", []string{
		payment(`{"status": "processing", "amount_captured": 0}`),
		payment(`{"status": "authorized", "amount_captured": 0, "authorized_until": "2026-11-08",
			"pending_operation": "capture"}`),
		payment(`{"amount_refunding": 1}`),
	}},
	{"payments_pending_operation_known", []string{
		byCard(`{"status": "authorized", "authorized_until": "2026-11-08",
			"pending_operation": "refund"}`),
	}},
	{"payments_pending_while_authorized", []string{
		byCard(`{"pending_operation": "capture"}`),
	}},
	{"payments_status_known", []string{payment(`{"status": "failed", "amount_captured": 0}`)}},
	{"payments_accounts_differ", []string{payment(`{"destination_account": "world"}`)}},
	{"payments_reference_length", []string{payment(`{"reference": ` + long(129) + `}`)}},
	{"payments_description_length", []string{payment(`{"description": ` + long(501) + `}`)}},
	{"payments_transition_legal", []string{
		`UPDATE payments SET amount_captured = 4`, // a second capture
		// A refund taken back.
		`UPDATE payments SET amount_refunded = 3; UPDATE payments SET amount_refunded = 2`,
		`UPDATE payments SET version = version - 1`, // a version that comes again
		// A success that is canceled.
		`UPDATE payments SET status = 'canceled', cancellation_reason = 'requested'`,
		// A decline with another code, and an authorization with another end.
		byCard(`{"status": "declined", "decline_code": "card_declined"}`) +
			`UPDATE payments SET decline_code = 'expired_card' WHERE idempotency_key = 'k2'`,
		byCard(`{"status": "authorized", "authorized_until": "2026-11-08"}`) +
			`UPDATE payments SET authorized_until = '2026-11-09' WHERE idempotency_key = 'k2'`,
		// A decline that succeeds after all.
		byCard(`{"status": "declined", "decline_code": "card_declined"}`) +
			`UPDATE payments SET status = 'succeeded', amount_captured = 5, decline_code = NULL
			WHERE idempotency_key = 'k2'`,
	}},
	{"payments_pkey", []string{
		claim(`{"payment_id": "00000000-0000-7000-8000-00000000a001"}`) +
			pay(`{"id": "00000000-0000-7000-8000-00000000a001"}`), // a second payment of one id
	}},
	{"payments_claimed_by_key", []string{
		payment(`{"idempotency_key": "k3"}`), // a payment without a key
		// A key that names another payment.
		claim(`{"payment_id": "00000000-0000-7000-8000-00000000a003"}`) + pay(`{}`),
		claim(`{"merchant_id": 2}`) + pay(`{}`),      // a key of another merchant
		claim(`{"scope": "service"}`) + pay(`{}`),    // a payment under a key of the service
		claim(`{"operation": "refund"}`) + pay(`{}`), // a payment under the key of a refund
		claim(`{"key": "K2"}`) + pay(`{}`),           // a key that differs in case
		// Two payments of one key in one statement.
		claim(`{}`) + `INSERT INTO payments SELECT
			(jsonb_populate_record(p, jsonb_build_object(
				'id', new, 'idempotency_key', 'k2', 'reference', null))).*
			FROM payments p, unnest(ARRAY[
				'00000000-0000-7000-8000-00000000a002', gen_random_uuid()::text]) AS new`,
	}},
	{"payment_references_pkey", []string{reference(1, "order 1")}},
	{"refunds_amount_range", []string{refund(`{"amount": 0}`)}}, // a refund of nothing
	{"refunds_decline_has_a_code", []string{refund(`{"status": "declined"}`)}},
	{"refunds_decline_code_known", []string{
		refund(`{"status": "declined", "decline_code": "do_not_honor"}`),
	}},
	{"refunds_status_known", []string{refund(`{"status": "failed"}`)}},
	{"refunds_reason_length", []string{refund(`{"reason": ` + long(501) + `}`)}},
	{"refunds_payment_exists", []string{refund(`{"merchant_id": 2}`)}},
	{"refunds_end_once", []string{
		refund(`{}`) + `UPDATE refunds SET status = 'declined', decline_code = 'card_declined'`,
		refund(`{"status": "declined", "decline_code": "card_declined"}`) +
			`UPDATE refunds SET status = 'succeeded', decline_code = NULL`,
	}},
	{"idempotency_pending_pkey", []string{twice(markPending)}},
	{"processor_attempts_pkey", []string{twice(ask(`{"operation": "charge"}`))}},
	{"processor_attempts_payment_exists", []string{ask(`{"merchant_id": 2}`)}},
	{"processor_attempts_operation_known", []string{ask(`{"operation": "void"}`)}},
	{"processor_attempts_refund_is_named", []string{
		ask(`{"operation": "refund"}`),
		ask(`{"refund_id": "00000000-0000-7000-8000-00000000c001"}`),
	}},
	{"processor_attempts_state_known", []string{ask(`{"state": "lost"}`)}},
	{"processor_attempts_settled_has_a_time", []string{
		ask(`{"state": "settled"}`), ask(`{"settled_at": "2026-11-01"}`),
	}},
	{"processor_attempts_amount_range", []string{
		ask(`{"amount": 0}`), ask(`{"amount": 9007199254740992}`),
	}},
	{"processor_attempts_generation_from_one", []string{ask(`{"generation": 0}`)}},
	{"processor_attempts_problem_length", []string{ask(`{"problem": ` + long(1001) + `}`)}},
	{"processor_attempts_one_at_a_time", []string{
		// A capture beside a cancellation that waits for a person.
		ask(`{"state": "review"}`) +
			ask(`{"id": "00000000-0000-8000-8000-00000000d002", "operation": "cancel"}`),
	}},
	{"processor_attempts_go_forward", []string{
		ask(`{"state": "settled", "settled_at": "2026-11-01"}`) +
			`UPDATE processor_attempts SET state = 'open', settled_at = NULL`,
		// A second settlement.
		ask(`{"state": "settled", "settled_at": "2026-11-01"}`) +
			`UPDATE processor_attempts SET settled_at = '2026-11-02'`,
		ask(`{"token": 2}`) + `UPDATE processor_attempts SET token = 1`,
		ask(`{"generation": 2}`) + `UPDATE processor_attempts SET generation = 1`,
		ask(`{"intent_id": "pi_1"}`) + `UPDATE processor_attempts SET intent_id = 'pi_2'`,
		ask(`{"intent_id": "pi_1"}`) + `UPDATE processor_attempts SET intent_id = NULL`,
	}},
	{"processor_events_pkey", []string{twice(processorEvent(`{}`))}},
	{"processor_events_id_length", []string{
		processorEvent(`{"id": ""}`), processorEvent(`{"id": ` + long(128) + `}`),
	}},
	{"refunds_one_per_key", []string{
		// Two refunds of one key.
		refund(`{}`) + refundOnly(`{"id": "00000000-0000-7000-8000-00000000c002"}`),
	}},
	{"refunds_pkey", []string{refund(`{}`) + refundOnly(`{"idempotency_key": "k3"}`)}},
	{"refunds_claimed_by_key", []string{
		refund(`{"idempotency_key": "k1"}`), // a refund under the key of the charge
		refund(`{"idempotency_key": "k3"}`), // a refund under a free key
		// A refund under the key of a capture.
		claim(`{"operation": "capture",
			"payment_id": "00000000-0000-7000-8000-00000000a001"}`) + refundOnly(`{}`),
		// A refund under a key of another payment.
		claim(`{"operation": "refund"}`) + refundOnly(`{}`),
	}},
	{"events_type_known", []string{event(`{"type": "payment.failed"}`)}},
	{"events_refund_is_named", []string{
		event(`{"type": "refund.succeeded"}`), // a refund's event without the refund
		// A payment's event with a refund.
		event(`{"refund_id": "00000000-0000-7000-8000-00000000c001"}`),
	}},
	{"events_pkey", []string{event(`{"transaction_id": 9}`) + event(`{"transaction_id": 9}`)}},
	{"events_payment_version_from_one", []string{event(`{"payment_version": 0}`)}},
	{"event_horizons_pkey", []string{twice(`INSERT INTO event_horizons
		VALUES (1, '9', gen_random_uuid(), '2026-11-01');`)}},
	{"feed_cursors_pkey", []string{
		twice(`INSERT INTO feed_cursors (merchant_id, consumer) VALUES (1, 'nats');`),
	}},
	{"feed_cursors_consumer_known", []string{
		`INSERT INTO feed_cursors (merchant_id, consumer) VALUES (1, 'mail')`,
	}},
	{"webhook_endpoints_pkey", []string{
		endpoint(`{}`) + endpoint(`{"uid": "00000000-0000-4000-8000-00000000f003"}`),
	}},
	{"webhook_endpoints_uid_unique", []string{endpoint(`{}`) + endpoint(`{"id": "other"}`)}},
	{"webhook_endpoints_merchant_exists", []string{endpoint(`{"merchant_id": 3}`)}},
	{"webhook_endpoints_id_form", []string{endpoint(`{"id": "-hook"}`)}},
	{"webhook_endpoints_url_form", []string{
		endpoint(`{"url": "ftp://example.com"}`),
		endpoint(`{"url": "https://example.com/` + strings.Repeat("a", 2048) + `"}`),
	}},
	{"webhook_endpoints_event_types_some", []string{endpoint(`{"event_types": []}`)}},
	{"webhook_endpoints_status_known", []string{
		endpoint(`{"status": "paused"}`),
	}},
	{"webhook_endpoints_disabled_has_a_reason", []string{
		endpoint(`{"status": "disabled"}`),
		endpoint(`{"disabled_reason": "gone"}`),
		endpoint(`{"status": "disabled", "disabled_reason": "slow"}`),
	}},
	{"webhook_endpoints_secret_form", []string{
		endpoint(`{"secret": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"}`), // without the prefix
		endpoint(`{"secret": "whsec_MDEy"}`),                       // a short one
	}},
	{"webhook_endpoints_previous_secret_ends", []string{
		endpoint(`{"previous_secret": "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"}`),
	}},
	{"webhook_deliveries_pkey", []string{twice(delivery(`{}`))}},
	{"webhook_deliveries_status_known", []string{delivery(`{"status": "sent"}`)}},
	{"webhook_deliveries_leased_while_pending", []string{
		delivery(`{"status": "delivered", "lease": "00000000-0000-4000-8000-00000000f004"}`),
	}},
	{"webhook_attempts_pkey", []string{twice(attempt(`{}`))}},
	{"webhook_attempts_status_or_error", []string{attempt(`{"status_code": null}`)}},
	{"webhook_attempts_response_length", []string{
		attempt(`{"response": ` + long(2049) + `}`),
	}},
}

// taken is what the application may write.
var taken = []string{
	`INSERT INTO merchants VALUES (3, 'three')`, // a merchant
	account(`{}`),                 // an account
	account(`{"merchant_id": 2}`), // an account of another merchant
	account(`{"balance": -100, "overdraft_limit": 100}`), // an account at its floor
	account(`{"held": 5, "open_payments": 1}`),           // an account with everything held
	// An account without a floor.
	account(`{"balance": -9007199254740991, "overdraft_limit": null}`),
	// An id of 64 characters of every kind.
	account(`{"id": "a_.:-Z7890123456789012345678901234567890123456789012345678901264"}`),
	// A closed account that is closed again, and then opened.
	account(`{"status": "closed"}`) +
		`UPDATE accounts SET status = 'closed' WHERE id = 'new';
		UPDATE accounts SET status = 'open', version = version + 1 WHERE id = 'new'`,
	// Journals that balance.
	post("1 1 world 2 USD -7", "1 1 shop 2 USD 4", "1 1 till 1 USD 3",
		"1 2 world 3 USD 1", "1 2 shop 3 USD -1", "2 2 world 1 EUR 1", "2 2 shop 1 EUR -1"),
	claim(`{}`),                                          // a free key
	claim(`{"key": "k1", "merchant_id": 2}`),             // the key of another merchant
	claim(`{"key": "k1", "scope": "service"}`),           // the key in another scope
	claim(`{"key": "K1"}`),                               // the key in capitals
	claim(`{"key": "` + strings.Repeat("k", 255) + `"}`), // a key of 255 bytes
	// Its own claim taken back, and made anew.
	claim(`{}`) +
		`DELETE FROM idempotency_keys WHERE key = 'k2';` + claim(`{}`),
	answer(200), answer(299), answer(402), // final answers
	payment(`{}`), // a payment
	// The largest amount.
	payment(`{"amount": 9007199254740991, "amount_captured": 9007199254740991}`),
	payment(`{"amount": 6}`),          // captured in part
	payment(`{"amount_refunded": 5}`), // refunded whole
	// Declined.
	payment(`{"status": "declined", "amount_captured": 0, "decline_code": "insufficient_funds"}`),
	byCard(`{}`), // at the processor, and what it may come to
	byCard(`{}`) + `UPDATE payments SET status = 'succeeded', amount_captured = 5
		WHERE idempotency_key = 'k2'`,
	byCard(`{}`) + `UPDATE payments SET status = 'declined', decline_code = 'expired_card'
		WHERE idempotency_key = 'k2'`,
	byCard(`{}`) + `UPDATE payments SET status = 'authorized', authorized_until = '2026-11-08',
		pending_operation = 'expire' WHERE idempotency_key = 'k2'`,
	byCard(`{"status": "succeeded", "amount_captured": 5, "amount_refunded": 2,
		"amount_refunding": 3}`),
	// Authorized.
	payment(`{"status": "authorized", "amount_captured": 0, "authorized_until": "2026-11-08"}`),
	// Canceled.
	payment(`{"status": "canceled", "amount_captured": 0, "cancellation_reason": "requested"}`),
	payment(`{"status": "canceled", "amount_captured": 0, "cancellation_reason": "expired"}`),
	// The longest texts.
	payment(`{"reference": ` + long(128) + `, "description": ` + long(500) + `}`),
	reference(2, "order 1"), // a reference of another merchant
	reference(1, "Order 1"), // a reference in capitals
	refund(`{}`),            // a refund
	// A refund that the processor has confirmed.
	refund(`{"status": "processing"}`) + `UPDATE refunds SET status = 'succeeded'`,
	markPending + `DELETE FROM idempotency_pending`,
	// An attempt from its beginning to its end, and the next one.
	ask(`{}`) + `UPDATE processor_attempts SET token = 2, generation = 2, intent_id = 'pi_1';
		UPDATE processor_attempts SET state = 'review', problem = 'unknown', tries = 9;
		UPDATE processor_attempts SET state = 'settled', settled_at = '2026-11-02';` +
		ask(`{"id": "00000000-0000-8000-8000-00000000d002", "operation": "cancel"}`),
	// Two refunds at the same time.
	ask(`{"operation": "refund", "refund_id": "00000000-0000-7000-8000-00000000c001"}`) +
		ask(`{"operation": "refund", "refund_id": "00000000-0000-7000-8000-00000000c002",
			"id": "00000000-0000-8000-8000-00000000d002"}`),
	processorEvent(`{}`) + `DELETE FROM processor_events`,
	event(`{}`), // an event
	// Webhook endpoints: for all events, and disabled for some.
	endpoint(`{}`),
	endpoint(`{"status": "disabled", "disabled_reason": "gone", "event_types": ["a"]}`),
	delivery(`{}`),
	attempt(`{"status_code": null, "error": "timed out"}`),
}

// ownerRefusals are for the owner and a superuser, too.
var ownerRefusals = []refusal{
	{"entries_immutable", []string{
		`UPDATE entries SET amount = amount`,                             // UPDATE of entries
		`DELETE FROM entries WHERE account_id = 'shop' AND sequence = 1`, // DELETE of an entry
		`TRUNCATE entries`, // TRUNCATE of entries
	}},
	{"events_immutable", []string{
		`UPDATE events SET type = 'payment.declined'`, `TRUNCATE events`,
	}},
	{"idempotency_keys_kept", []string{`DELETE FROM idempotency_keys WHERE key = 'k1'`}},
	{"idempotency_keys_immutable", []string{
		`UPDATE idempotency_keys SET payment_id = gen_random_uuid()`, // UPDATE of claims
		`TRUNCATE idempotency_keys`,                                  // TRUNCATE of claims
	}},
	{"idempotency_reaper_only_row", []string{
		`INSERT INTO idempotency_reaper VALUES (false, now())`, // a second mark of the reaper
	}},
	{"idempotency_reaper_pkey", []string{`INSERT INTO idempotency_reaper VALUES (true, now())`}},
	{"readiness_probe_only_row", []string{`INSERT INTO readiness_probe VALUES (false, now())`}},
	{"readiness_probe_pkey", []string{
		`INSERT INTO readiness_probe VALUES (true, now()), (true, now())`,
	}},
	{"processor_installation_only_row", []string{
		`INSERT INTO processor_installation VALUES (false)`,
	}},
	{"processor_installation_pkey", []string{`INSERT INTO processor_installation VALUES (true)`}},
	{"schema_versions_version_positive", []string{
		`INSERT INTO schema_versions (version) VALUES (0)`, // version 0
	}},
	{"schema_versions_pkey", []string{`INSERT INTO schema_versions (version) VALUES (1)`}},
}

func TestDatabaseRefusesBrokenRulesOnly(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	execute(t, db.Pool, books)
	for _, attempt := range taken {
		asApplication(t, db, func(tx pgx.Tx) { wantRefused(t, tx, attempt, "") })
	}
	for _, refusal := range refusals {
		for _, attempt := range refusal.attempts {
			asApplication(t, db, func(tx pgx.Tx) { wantRefused(t, tx, attempt, refusal.by) })
		}
	}
	for _, url := range []string{db.URL, db.AdminURL} {
		login := connect(t, url)
		for _, refusal := range ownerRefusals {
			for _, attempt := range refusal.attempts {
				rolledBack(t, login, func(tx pgx.Tx) { wantRefused(t, tx, attempt, refusal.by) })
			}
		}
	}
}

// A new constraint or trigger needs a case above.
func TestEveryGuardIsSeenToRefuse(t *testing.T) {
	t.Parallel()
	var seen []string
	for _, refusal := range slices.Concat(refusals, ownerRefusals) {
		seen = append(seen, refusal.by)
	}
	for _, guard := range guardsOf(t, pgtest.New(t)) {
		name, _, _ := strings.Cut(guard, ": ")
		_, object, inTable := strings.Cut(name, ".")
		if object == "webhook_endpoints_numbered" { // it sets ids, and refuses nothing
			continue
		}
		if inTable && !slices.Contains(seen, object) {
			t.Errorf("no case is refused by %s", name)
		}
	}
}

// asApplication is rolledBack as the restricted role.
func asApplication(t *testing.T, db *pgtest.DB, do func(pgx.Tx)) {
	t.Helper()
	rolledBack(t, db.Pool, func(tx pgx.Tx) {
		execute(t, tx, `SET LOCAL ROLE paymentsvc_app`)
		do(tx)
	})
}

// wantRefused expects a refusal by that constraint, or success without a name.
func wantRefused(t *testing.T, tx pgx.Tx, sql, by string) {
	t.Helper()
	_, err := tx.Exec(t.Context(), sql)
	refused, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case by == "" && err != nil:
		t.Errorf("%s: %v, want success", sql, err)
	case by != "" && (!ok || refused.ConstraintName != by):
		t.Errorf("%s: %v, want a refusal by %s", sql, err, by)
	}
}
