package httpapi_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// aliceHas is the balance that a new merchant's account "alice" has, in cents.
const aliceHas = 10_000

// merchant is a caller with an API key, and with the accounts "world" (unlimited),
// "alice" (who has some money) and "shop" (which has none).
type merchant struct {
	t      *testing.T
	db     *pgtest.DB
	id     int64
	apiKey string
	first  *instance         // gets the first request of every key
	other  *instance         // gets the retries; it may be the same one
	caller *journal.Merchant // sends every request
}

func newMerchant(t *testing.T, db *pgtest.DB, first, other *instance) *merchant {
	t.Helper()
	caller := journal.CreateMerchant(t, db.URL)
	m := &merchant{
		t: t, db: db, id: caller.ID, apiKey: caller.APIKey, first: first, other: other,
		caller: caller,
	}
	t.Cleanup(func() {
		for _, in := range []*instance{first, other} {
			if in.Log.Count(strings.TrimPrefix(m.apiKey, "sk_")) > 0 {
				t.Error("the API key was logged")
			}
		}
	})
	m.put("world", `{"currency":"USD","overdraft_limit":null}`).want(201)
	m.put("alice", `{"currency":"USD"}`).want(201)
	m.put("shop", `{"currency":"USD"}`).want(201)
	m.fund(first, "alice", aliceHas/2)
	m.fund(other, "alice", aliceHas/2)
	return m
}

// in is the same merchant in a subtest.
func (m *merchant) in(t *testing.T) *merchant {
	same := *m
	same.t = t
	return &same
}

// another is another merchant on the same instances, for a subtest.
func (m *merchant) another(t *testing.T) *merchant {
	t.Helper()
	return newMerchant(t, m.db, m.first, m.other)
}

// as is the merchant with another credential.
func (m *merchant) as(apiKey string) *merchant {
	other := *m
	other.apiKey = apiKey
	return &other
}

// body is a request's JSON object.
type body map[string]any

// aliceToShop is the charge of most tests.
func aliceToShop(cents int64) body {
	return body{
		"amount": cents, "currency": "USD", "source_account": "alice",
		"destination_account": "shop",
	}
}

func (b body) with(member string, value any) body {
	changed := maps.Clone(b)
	changed[member] = value
	return changed
}

func (b body) without(member string) body {
	changed := maps.Clone(b)
	delete(changed, member)
	return changed
}

func (b body) String() string {
	text, err := json.Marshal(b)
	if err != nil {
		panic(err) // texts, numbers and maps only
	}
	return string(text)
}

// charge sends a charge under a key for the first time.
func (m *merchant) charge(key string, b body) *answer {
	m.t.Helper()
	return m.chargeOn(m.first, key, b.String())
}

// retry sends a charge under a key again, to the other instance if there are two.
func (m *merchant) retry(key string, b body) *answer {
	m.t.Helper()
	return m.chargeOn(m.other, key, b.String())
}

func (m *merchant) chargeOn(in *instance, key, text string) *answer {
	m.t.Helper()
	return m.send(in, call{
		method: "POST", path: "/payments",
		header: http.Header{"Idempotency-Key": {key}}, body: text,
	})
}

func (m *merchant) get(path string) *answer {
	m.t.Helper()
	return m.send(m.other, call{path: path})
}

func (m *merchant) put(account, text string) *answer {
	m.t.Helper()
	return m.send(m.first, call{method: "PUT", path: "/accounts/" + account, body: text})
}

// post sends a keyed request about something that is there, for the first time; a body
// of "" is none.
func (m *merchant) post(key, path, body string) *answer {
	m.t.Helper()
	return m.send(m.first, call{
		method: "POST", path: path,
		header: http.Header{"Idempotency-Key": {key}}, body: body,
	})
}

// patch edits a payment that still has the tag.
func (m *merchant) patch(path, tag, text string) *answer {
	m.t.Helper()
	return m.send(m.first,
		call{method: "PATCH", path: path, header: http.Header{"If-Match": {tag}}, body: text})
}

// close closes an account.
func (m *merchant) close(account string) *answer {
	m.t.Helper()
	return m.send(m.first, call{method: "DELETE", path: "/accounts/" + account})
}

// putIfMatch is put under the condition that the account still has the tag.
func (m *merchant) putIfMatch(account, tag, text string) *answer {
	m.t.Helper()
	return m.send(m.first, call{
		method: "PUT", path: "/accounts/" + account, header: http.Header{"If-Match": {tag}},
		body: text,
	})
}

// closeIfMatch is close under the same condition.
func (m *merchant) closeIfMatch(account, tag string) *answer {
	m.t.Helper()
	return m.send(m.first, call{
		method: "DELETE", path: "/accounts/" + account, header: http.Header{"If-Match": {tag}},
	})
}

// fund gives an account money from outside.
func (m *merchant) fund(in *instance, account string, cents int64) {
	m.t.Helper()
	funding := aliceToShop(cents).with("source_account", "world").with("destination_account",
		account)
	m.chargeOn(in, "funding "+uuid.NewString(), funding.String()).want(201)
}

// wantBalance checks what an account has, in minor units.
func (m *merchant) wantBalance(account string, want int64) {
	m.t.Helper()
	var got struct{ Balance int64 }
	m.get("/accounts/" + account).want(200).decode(&got)
	if got.Balance != want {
		m.t.Errorf("account %s has %d, want %d", account, got.Balance, want)
	}
}

// wantPayments checks how many payments there are, without those that brought money
// from outside.
func (m *merchant) wantPayments(want int) {
	m.t.Helper()
	m.wantCount(
		want, `SELECT count(*) FROM payments WHERE merchant_id = $1 AND source_account <> 'world'`,
		m.id,
	)
}

func (m *merchant) wantCount(want int, sql string, args ...any) {
	m.t.Helper()
	var got int
	if err := m.db.Pool.QueryRow(context.Background(), sql, args...).Scan(&got); err != nil {
		m.t.Fatalf("%s: %v", sql, err)
	}
	if got != want {
		m.t.Errorf("%d rows, want %d: %s", got, want, sql)
	}
}

// forge changes rows as a superuser, with the triggers off.
func (m *merchant) forge(rows int64, sql string, args ...any) {
	m.t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, m.db.AdminURL)
	if err != nil {
		m.t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `SET session_replication_role = replica`); err != nil {
		m.t.Fatal(err)
	}
	if tag, err := conn.Exec(ctx, sql, args...); err != nil || tag.RowsAffected() != rows {
		m.t.Fatalf("%s: %v, %v", sql, tag, err)
	}
}

// secondKey is another API key of the merchant.
func (m *merchant) secondKey() string { return m.newKey(false) }

// readOnlyKey is another API key of the merchant, which may only read.
func (m *merchant) readOnlyKey() string { return m.newKey(true) }

func (m *merchant) newKey(readOnly bool) string {
	m.t.Helper()
	_, apiKey, err := merchants.CreateKey(context.Background(), m.db.Pool, m.id, readOnly)
	if err != nil {
		m.t.Fatal(err)
	}
	return apiKey
}

// revoke ends an API key.
func (m *merchant) revoke(apiKey string) {
	m.t.Helper()
	sum := sha256.Sum256([]byte(apiKey))
	m.forge(1, `UPDATE api_keys SET revoked_at = now() WHERE secret_sha256 = $1`, sum[:])
}

// hold keeps charges of an account in flight until release is called. They have locked
// their accounts.
func (m *merchant) hold(account string) (release func()) {
	m.t.Helper()
	return m.while(pgtest.TakeNextEntries+` AND a.merchant_id = $2`, account)
}

// lock locks an account's row until release is called.
func (m *merchant) lock(account string) (release func()) {
	m.t.Helper()
	return m.while(`SELECT FROM accounts WHERE id = $1 AND merchant_id = $2 FOR UPDATE`, account)
}

// while keeps what the statement does to the account uncommitted until release is called.
func (m *merchant) while(sql, account string) (release func()) {
	m.t.Helper()
	ctx := context.Background()
	tx, err := m.db.Pool.Begin(ctx)
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, sql, account, m.id); err != nil {
		m.t.Fatal(err)
	}
	release = sync.OnceFunc(func() {
		if err := tx.Rollback(ctx); err != nil {
			m.t.Errorf("releasing account %s: %v", account, err)
		}
	})
	m.t.Cleanup(release)
	return release
}

// awaitInFlight waits until so many transactions of the merchant's database wait for a
// lock.
func (m *merchant) awaitInFlight(n int) {
	m.t.Helper()
	await.Until(m.t, patience, fmt.Sprint(n, " transactions wait for a lock"), func() bool {
		return m.inFlight() == n
	})
}

// inFlight counts the transactions of the merchant's database that wait for a lock.
func (m *merchant) inFlight() (waiting int) {
	m.t.Helper()
	if err := m.db.Pool.QueryRow(context.Background(), `
		SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND wait_event_type = 'Lock'
			AND application_name LIKE 'paymentsvc%'`,
	).Scan(&waiting); err != nil {
		m.t.Fatal(err)
	}
	return waiting
}
