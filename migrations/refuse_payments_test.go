package migrations_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// What the database itself refuses about payments, keys, references, answers and events, even from its own application.

// asApplication is inVain as the restricted role.
func asApplication(t *testing.T, db *pgtest.DB, do func(pgx.Tx)) {
	t.Helper()
	inVain(t, db.Pool, func(tx pgx.Tx) {
		execute(t, tx, `SET LOCAL ROLE paymentsvc_app`)
		do(tx)
	})
}

// claim takes key k2 for payment a002, except for what a document says.
const claim = `
	INSERT INTO idempotency_keys
		(merchant_id, scope, key, operation, fingerprint, fingerprint_version, request_id, payment_id, created_at)
	SELECT k.merchant_id, k.scope, k.key, k.operation, k.fingerprint, k.fingerprint_version, k.request_id, k.payment_id, k.created_at
	FROM idempotency_keys k1
	CROSS JOIN jsonb_populate_record(k1, '{"key": "k2", "payment_id": "00000000-0000-7000-8000-00000000a002",
		"request_id": "00000000-0000-7000-8000-00000000e002"}'::jsonb || $1) AS k
	WHERE k1.merchant_id = 1 AND k1.key = 'k1'`

// pay makes payment a002 under key k2, like payment a001 but without a reference, except for what a document says.
const pay = `
	INSERT INTO payments (merchant_id, id, status, amount, currency, source_account, destination_account, amount_captured,
		amount_refunded, decline_code, reference, description, metadata, authorized_until, idempotency_key, version, created_at)
	SELECT p.merchant_id, p.id, p.status, p.amount, p.currency, p.source_account, p.destination_account, p.amount_captured,
		p.amount_refunded, p.decline_code, p.reference, p.description, p.metadata, p.authorized_until, p.idempotency_key, p.version,
		p.created_at
	FROM payments p1
	CROSS JOIN jsonb_populate_record(p1, '{"id": "00000000-0000-7000-8000-00000000a002", "idempotency_key": "k2",
		"reference": null}'::jsonb || $1) AS p
	WHERE p1.merchant_id = 1 AND p1.idempotency_key = 'k1'`

func TestAPaymentThatBreaksARuleIsRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db.Pool)
	for _, test := range []struct{ name, payment, constraint string }{
		{"nothing to pay", `{"amount": 0, "amount_captured": 0, "status": "processing"}`, "payments_amount_range"},
		{"an amount that JSON cannot carry", `{"amount": 9007199254740992}`, "payments_amount_range"},
		{"more captured than authorized", `{"amount_captured": 6}`, "payments_captured_within_amount"},
		{"less than nothing captured", `{"amount_captured": -1, "status": "processing"}`, "payments_captured_within_amount"},
		{"more refunded than captured", `{"amount_refunded": 6}`, "payments_refunded_within_captured"},
		{"less than nothing refunded", `{"amount_refunded": -1}`, "payments_refunded_within_captured"},
		{"succeeded without a capture", `{"amount_captured": 0}`, "payments_captured_when_succeeded"},
		{"authorized without an end", `{"status": "authorized", "amount_captured": 0}`, "payments_authorized_has_an_end"},
		{"captured, but only authorized", `{"status": "authorized", "authorized_until": "2026-11-08"}`, "payments_captured_when_succeeded"},
		{"captured, but canceled", `{"status": "canceled"}`, "payments_captured_when_succeeded"},
		{"declined without a reason", `{"status": "declined", "amount_captured": 0}`, "payments_decline_has_a_code"},
		{"succeeded with a reason for its decline", `{"decline_code": "insufficient_funds"}`, "payments_decline_has_a_code"},
		{"an unknown status", `{"status": "failed", "amount_captured": 0}`, "payments_status_known"},
		{"from an account to itself", `{"destination_account": "world"}`, "payments_accounts_differ"},
		{"an empty reference", `{"reference": ""}`, "payments_reference_length"},
		{"a reference of 129 characters", `{"reference": "` + strings.Repeat("ü", 129) + `"}`, "payments_reference_length"},
		{"a description of 501 characters", `{"description": "` + strings.Repeat("ü", 501) + `"}`, "payments_description_length"},
	} {
		t.Run(test.name, func(t *testing.T) {
			asApplication(t, db, func(tx pgx.Tx) {
				execute(t, tx, claim, `{}`)
				_, err := tx.Exec(t.Context(), pay, test.payment)
				wantRefused(t, err, checkFailed, test.constraint)
			})
		})
	}
}

func TestAPaymentThatBreaksNoRuleIsTaken(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db.Pool)
	for _, test := range []struct{ name, payment string }{
		{"succeeded", `{}`},
		{"the largest amount", `{"amount": 9007199254740991, "amount_captured": 9007199254740991}`},
		{"captured in part", `{"amount": 6}`},
		{"refunded whole", `{"amount_refunded": 5}`},
		{"declined", `{"status": "declined", "amount_captured": 0, "decline_code": "insufficient_funds"}`},
		{"processing", `{"status": "processing", "amount_captured": 0}`},
		{"authorized", `{"status": "authorized", "amount_captured": 0, "authorized_until": "2026-11-08"}`},
		{"canceled", `{"status": "canceled", "amount_captured": 0}`},
		{"with the longest texts", `{"reference": "` + strings.Repeat("ü", 128) + `", "description": "` + strings.Repeat("ü", 500) + `"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			asApplication(t, db, func(tx pgx.Tx) {
				execute(t, tx, claim, `{}`)
				execute(t, tx, pay, test.payment)
			})
		})
	}
}

// The caps hold whenever a payment changes.
func TestAPaymentIsNotMovedOverItsCaps(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db.Pool)
	for _, test := range []struct{ name, change, code, constraint string }{
		{"refunds that are too much together", `amount_refunded = amount_refunded + 3`, checkFailed, "payments_refunded_within_captured"},
		{"a second capture", `amount_captured = amount_captured - 1`, integrityViolation, "payments_transition_legal"},
		{"a refund that is taken back", `amount_refunded = 2`, integrityViolation, "payments_transition_legal"},
		{"a version that comes again", `version = version - 1`, integrityViolation, "payments_transition_legal"},
		{"a success that becomes a cancellation", `status = 'canceled'`, integrityViolation, "payments_transition_legal"},
	} {
		t.Run(test.name, func(t *testing.T) {
			asApplication(t, db, func(tx pgx.Tx) {
				execute(t, tx, `UPDATE payments SET amount_refunded = 3`)
				_, err := tx.Exec(t.Context(), `UPDATE payments SET `+test.change)
				wantRefused(t, err, test.code, test.constraint)
			})
		})
	}
}

func TestAPaymentIsMadeUnderItsOwnKeyOnly(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db.Pool)
	for _, test := range []struct{ name, claim, payment string }{
		{"a payment without a key", `{}`, `{"idempotency_key": "k3"}`},
		{"a second payment under a key of another", `{}`, `{"idempotency_key": "k1"}`},
		{"a key that names another payment", `{"payment_id": "00000000-0000-7000-8000-00000000a003"}`, `{}`},
		{"a key of another merchant", `{"merchant_id": 2}`, `{}`},
		{"a payment of another merchant", `{}`, `{"merchant_id": 2}`},
		{"a key of another scope", `{"scope": "service"}`, `{}`},
		{"a key that differs in case", `{"key": "K2"}`, `{}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			asApplication(t, db, func(tx pgx.Tx) {
				execute(t, tx, claim, test.claim)
				_, err := tx.Exec(t.Context(), pay, test.payment)
				wantRefused(t, err, integrityViolation, "payments_claimed_by_key")
			})
		})
	}
	t.Run("two payments of one key in one statement", func(t *testing.T) {
		asApplication(t, db, func(tx pgx.Tx) {
			execute(t, tx, claim, `{}`)
			_, err := tx.Exec(t.Context(), pay+`
				UNION ALL
				SELECT p.merchant_id, gen_random_uuid(), p.status, p.amount, p.currency, p.source_account, p.destination_account,
					p.amount_captured, p.amount_refunded, p.decline_code, NULL, p.description, p.metadata,
					p.authorized_until, 'k2', p.version, p.created_at
				FROM payments p`, `{}`)
			wantRefused(t, err, integrityViolation, "payments_claimed_by_key")
		})
	})
	t.Run("two payments of one id", func(t *testing.T) {
		asApplication(t, db, func(tx pgx.Tx) {
			execute(t, tx, claim, `{"payment_id": "00000000-0000-7000-8000-00000000a001"}`)
			_, err := tx.Exec(t.Context(), pay, `{"id": "00000000-0000-7000-8000-00000000a001"}`)
			wantRefused(t, err, notUnique, "payments_pkey")
		})
	})
}

func TestOneReferenceHasOneLivePayment(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db.Pool)
	const hold = `INSERT INTO payment_references (merchant_id, reference, payment_id) VALUES ($1, $2, gen_random_uuid())`
	asApplication(t, db, func(tx pgx.Tx) {
		execute(t, tx, hold, 2, "order 1") // another merchant's order 1
		execute(t, tx, hold, 1, "Order 1") // another order
		_, err := tx.Exec(t.Context(), hold, 1, "order 1")
		wantRefused(t, err, notUnique, "payment_references_pkey")
	})
}

// answer stores an answer for request e002.
const answer = `
	INSERT INTO idempotency_answers (merchant_id, request_id, status, location, body, created_at)
	VALUES (1, $2, $1, '', '{}', '2026-11-01')`

// What a retry must be able to outlive is never stored (FAULTS, I6).
func TestOnlyFinalAnswersAreStored(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	const request, answered = "00000000-0000-7000-8000-00000000e002", "00000000-0000-7000-8000-00000000e001"
	for status, final := range map[int]bool{
		200: true, 201: true, 204: true, 299: true, 402: true,
		0: false, 100: false, 199: false, 300: false, 304: false, 400: false, 401: false, 403: false, 404: false,
		409: false, 410: false, 413: false, 415: false, 422: false, 429: false, 499: false,
		500: false, 501: false, 502: false, 503: false, 504: false, 599: false,
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			asApplication(t, db, func(tx pgx.Tx) {
				_, err := tx.Exec(t.Context(), answer, status, request)
				if final && err != nil {
					t.Errorf("refused: %v", err)
				}
				if !final {
					wantRefused(t, err, checkFailed, "idempotency_answers_status_final")
				}
			})
		})
	}
	t.Run("a second one for the same request", func(t *testing.T) {
		keepBooks(t, db.Pool)
		asApplication(t, db, func(tx pgx.Tx) {
			_, err := tx.Exec(t.Context(), answer, 201, answered)
			wantRefused(t, err, notUnique, "idempotency_answers_pkey")
		})
	})
}

func TestOtherRowsThatBreakARuleAreRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db.Pool)
	for _, test := range []struct{ name, sql, code, constraint string }{
		{
			"an event of a state that there is not", `INSERT INTO events (merchant_id, id, type, payment_id, data, created_at)
				VALUES (1, gen_random_uuid(), 'payment.failed', gen_random_uuid(), '{}', now())`,
			checkFailed, "events_type_known",
		},
		{"a merchant whose id is zero", `INSERT INTO merchants (id, name) VALUES (0, 'none')`, checkFailed, "merchants_id_positive"},
		{"a merchant without a name", `INSERT INTO merchants (id, name) VALUES (3, '')`, checkFailed, "merchants_name_length"},
		{"a second merchant of one id", `INSERT INTO merchants (id, name) VALUES (2, 'other')`, notUnique, "merchants_pkey"},
		{
			"a credential that is kept in clear", `INSERT INTO api_keys (merchant_id, id, secret_sha256)
				VALUES (1, gen_random_uuid(), 'sk_secret')`,
			checkFailed, "api_keys_secret_is_sha256",
		},
		{
			"one credential for two merchants", `INSERT INTO api_keys (merchant_id, id, secret_sha256)
				VALUES (1, gen_random_uuid(), sha256('s')), (2, gen_random_uuid(), sha256('s'))`,
			notUnique, "api_keys_secret_unique",
		},
		{
			"a credential of no merchant", `INSERT INTO api_keys (merchant_id, id, secret_sha256)
				VALUES (3, gen_random_uuid(), sha256('s'))`,
			foreignKeyMissing, "api_keys_merchant_exists",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			asApplication(t, db, func(tx pgx.Tx) {
				_, err := tx.Exec(t.Context(), test.sql)
				wantRefused(t, err, test.code, test.constraint)
			})
		})
	}
	for table, second := range map[string]string{
		"schema_compatibility": `INSERT INTO schema_compatibility (only_row, needs_version) VALUES (false, 1)`,
		"idempotency_reaper":   `INSERT INTO idempotency_reaper (only_row, answers_before) VALUES (false, now())`,
	} {
		t.Run("a second row of "+table, func(t *testing.T) {
			_, err := db.Pool.Exec(t.Context(), second)
			wantRefused(t, err, checkFailed, table+"_only_row")
		})
	}
}
