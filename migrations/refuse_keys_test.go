package migrations_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// The row that everything rests on: who has a key, and that nobody loses one.

func TestAKeyIsClaimedOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db.Pool)
	for _, test := range []struct{ name, claim, code, constraint string }{
		{"a key that is taken", `{"key": "k1"}`, notUnique, "idempotency_keys_pkey"},
		{"an empty key", `{"key": ""}`, checkFailed, "idempotency_keys_key_length"},
		{"a key of 256 bytes", `{"key": "` + strings.Repeat("k", 256) + `"}`, checkFailed, "idempotency_keys_key_length"},
		{"a fingerprint that is no SHA-256", `{"fingerprint": "\\x00"}`, checkFailed, "idempotency_keys_fingerprint_is_sha256"},
	} {
		t.Run(test.name, func(t *testing.T) {
			asApplication(t, db, func(tx pgx.Tx) {
				_, err := tx.Exec(t.Context(), claim, test.claim)
				wantRefused(t, err, test.code, test.constraint)
			})
		})
	}
	for _, test := range []struct{ name, claim string }{
		{"a key that is free", `{}`},
		{"the same key of another merchant", `{"key": "k1", "merchant_id": 2}`},
		{"the same key in another scope", `{"key": "k1", "scope": "service"}`},
		{"the same key in capitals", `{"key": "K1"}`},
		{"a key of 255 bytes", `{"key": "` + strings.Repeat("k", 255) + `"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			asApplication(t, db, func(tx pgx.Tx) { execute(t, tx, claim, test.claim) })
		})
	}
}

// A claim that is committed is for ever, whoever would have it otherwise.
func TestAClaimedKeyIsNeitherLostNorChanged(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db.Pool)
	for _, test := range []struct {
		name, change  string
		byApplication string // the constraint in whose name the application is refused: "" where it has no such right at all
		byOwner       string
	}{
		{"deleted", `DELETE FROM idempotency_keys WHERE key = 'k1'`, "idempotency_keys_kept", "idempotency_keys_kept"},
		{"changed", `UPDATE idempotency_keys SET payment_id = gen_random_uuid()`, "", "idempotency_keys_immutable"},
		{"emptied with its table", `TRUNCATE idempotency_keys`, "", "idempotency_keys_immutable"},
		{"taken over", `INSERT INTO idempotency_keys
				(merchant_id, scope, key, operation, fingerprint, fingerprint_version, request_id, payment_id)
			VALUES (1, 'client', 'k1', 'charge', sha256('other'), 1, gen_random_uuid(), gen_random_uuid())
			ON CONFLICT (merchant_id, scope, key) DO UPDATE SET payment_id = excluded.payment_id`, "", "idempotency_keys_immutable"},
	} {
		t.Run(test.name+" by the application", func(t *testing.T) {
			asApplication(t, db, func(tx pgx.Tx) {
				_, err := tx.Exec(t.Context(), test.change)
				wantRefused(t, err, notAllowed, test.byApplication)
			})
		})
		t.Run(test.name+" by the owner", func(t *testing.T) {
			_, err := db.Pool.Exec(t.Context(), test.change)
			wantRefused(t, err, notAllowed, test.byOwner)
		})
	}
}

func TestATransactionTakesBackItsOwnClaimAndNoOther(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db.Pool)
	asApplication(t, db, func(tx pgx.Tx) {
		execute(t, tx, claim, `{}`)
		execute(t, tx, `DELETE FROM idempotency_keys WHERE merchant_id = 1 AND key = 'k2'`)
		execute(t, tx, claim, `{}`) // and it may claim the key anew
		_, err := tx.Exec(t.Context(), `DELETE FROM idempotency_keys WHERE merchant_id = 1 AND key IN ('k1', 'k2')`)
		wantRefused(t, err, notAllowed, "idempotency_keys_kept")
	})
}

// Two requests with one key: the second waits inside its INSERT until the first has ended, and how it ended decides.
func TestARivalThatWaitsForAKeyGetsItIfItStaysFree(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		end  string // of the first transaction
		want int64  // keys that the second has claimed then
	}{
		{"the first commits", `COMMIT`, 0},
		{"the first rolls back", `ROLLBACK`, 1},
		{"the first is refused and takes its claim back", `DELETE FROM idempotency_keys WHERE merchant_id = 1 AND key = 'k2'; COMMIT`, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewBroken(t) // claims without payments
			keepBooks(t, db.Pool)
			first, second := connect(t, db.URL), connect(t, db.URL)
			execute(t, first, `SET ROLE paymentsvc_app`)
			execute(t, second, `SET ROLE paymentsvc_app`)
			execute(t, first, `BEGIN`)
			execute(t, first, claim, `{}`)
			claimed := make(chan int64, 1)
			go func() {
				tag, err := second.Exec(context.Background(), claim+` ON CONFLICT (merchant_id, scope, key) DO NOTHING`,
					`{"request_id": "00000000-0000-7000-8000-00000000e003"}`)
				if err != nil {
					t.Errorf("the rival's claim: %v", err)
				}
				claimed <- tag.RowsAffected()
			}()
			awaitBlocked(t, db, 1)
			execute(t, first, test.end)
			if got := <-claimed; got != test.want {
				t.Errorf("the rival claimed %d keys, want %d", got, test.want)
			}
			if got := column[int64](t, db.Pool, `SELECT count(*) FROM idempotency_keys WHERE key = 'k2'`)[0]; got != 1 {
				t.Errorf("the key is claimed %d times, want once", got)
			}
		})
	}
}
