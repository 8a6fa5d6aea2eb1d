package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
)

// Row 9 of the contract. A refusal that used up the key: midaz 709 (BUGS 21); one that was replayed for ever, so that the
// payment could never be made: medusa 16390 (BUGS 3).
func TestARefusalLeavesTheKeyFree(t *testing.T) {
	good := aliceToShop(100)
	post := func(text string, header http.Header) func(*merchant) call {
		return func(*merchant) call {
			return call{method: http.MethodPost, path: "/payments", header: header, body: text}
		}
	}
	bad := func(b body) func(*merchant) call { return post(b.String(), nil) }
	nothing := func(*merchant) {}
	rows := []struct {
		name   string
		bad    func(*merchant) call
		status int
		code   string
		cure   func(*merchant) // what happens between the refusal and the retry, which is right
	}{
		{"not JSON", post(`{"amount":100,`, nil), 400, "invalid_request", nothing},
		{"no body", post("", http.Header{"Content-Type": {"application/json"}}), 400, "invalid_request", nothing},
		{"a member is missing", bad(good.without("amount")), 400, "invalid_request", nothing},
		{"a member is unknown", bad(good.with("amuont", 1)), 400, "invalid_request", nothing},
		{"a value has the wrong type", bad(good.with("amount", "100")), 400, "invalid_request", nothing},
		{"no credential", post(good.String(), http.Header{"Authorization": nil}), 401, "unauthorized", nothing},
		{"a key that only reads", func(m *merchant) call {
			return post(good.String(), http.Header{"Authorization": {"Bearer " + m.readOnlyKey()}})(m)
		}, 403, "forbidden", nothing},
		{"the wrong path", func(*merchant) call {
			return call{method: http.MethodPost, path: "/payment", body: good.String()}
		}, 404, "not_found", nothing},
		{"the wrong method", func(*merchant) call {
			return call{method: http.MethodPut, path: "/payments", body: good.String()}
		}, 405, "method_not_allowed", nothing},
		{"a body over the limit", bad(good.with("description", strings.Repeat("x", 64<<10))), 413, "payload_too_large", nothing},
		{"another type of body", post(good.String(), http.Header{"Content-Type": {"text/plain"}}), 415, "unsupported_media_type", nothing},
		{"an amount out of range", bad(good.with("amount", 0)), 422, "unprocessable", nothing},
		{"a currency that is none", bad(good.with("currency", "USDT")), 422, "unprocessable", nothing},
		{"an account pays itself", bad(good.with("destination_account", "alice")), 422, "unprocessable", nothing},
		{"the wrong currency", bad(good.with("currency", "EUR")), 422, "currency_mismatch", nothing},
		{"a source that does not exist", bad(good.with("source_account", "bob")), 422, "account_not_found", nothing},
		{"a destination that does not exist", bad(good.with("destination_account", "bob")), 422, "account_not_found", nothing},
		{"a reference that is taken", func(m *merchant) call {
			m.chargeOn(m.first, "first", good.with("reference", "r").with("source_account", "world").String()).want(201)
			return bad(good.with("reference", "r"))(m)
		}, 409, "duplicate_reference", func(m *merchant) { m.wantBalance("shop", 100) }},
		{"a closed account", func(m *merchant) call {
			m.exec(`UPDATE accounts SET status = 'closed' WHERE merchant_id = $1 AND id = 'shop'`, m.id)
			return bad(good)(m)
		}, 422, "account_closed", func(m *merchant) {
			m.forge(`UPDATE accounts SET status = 'open' WHERE merchant_id = $1 AND id = 'shop'`, m.id)
		}},
	}
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				m := m.another(t)
				wrong := row.bad(m)
				if wrong.header == nil {
					wrong.header = http.Header{}
				}
				wrong.header["Idempotency-Key"] = []string{"k"}
				for _, in := range []*instance{m.first, m.other, m.first} {
					m.send(in, wrong).wantProblem(row.status, row.code).wantFresh()
				}
				m.wantPayments(0)
				m.wantCount(0, `SELECT count(*) FROM idempotency_keys WHERE merchant_id = $1 AND key = 'k'`, m.id)

				row.cure(m)
				right := m.charge("k", good).want(http.StatusCreated).wantFresh()
				m.retry("k", good).wantReplayOf(right)
				m.wantPayments(1)
			})
		}
	})
}

// The very same request under the very same key succeeds once the cause is gone (BUGS 3).
func TestTheSameRequestSucceedsOnceItsAccountExists(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		toBob := aliceToShop(100).with("destination_account", "bob")
		m.charge("k", toBob).wantProblem(http.StatusUnprocessableEntity, "account_not_found").wantErrorAt("/destination_account")
		m.put("bob", `{"currency":"USD"}`).want(http.StatusCreated)
		paid := m.retry("k", toBob).want(http.StatusCreated).wantFresh()
		m.charge("k", toBob).wantReplayOf(paid)
		m.wantBalance("bob", 100)
	})
}

// Row 10: who was told no may have gone elsewhere, so that key stays a no.
func TestADeclineIsKeptAndReplayed(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		tooMuch := aliceToShop(aliceHas+1).with("description", "a house")
		declined := m.charge("k", tooMuch).wantProblem(http.StatusPaymentRequired, "insufficient_funds").wantFresh()
		m.retry("k", tooMuch).wantReplayOf(declined)
		m.wantBalance("alice", aliceHas)
		m.wantBalance("shop", 0)

		var payment struct {
			Status         string
			DeclineCode    string `json:"decline_code"`
			AmountCaptured int64  `json:"amount_captured"`
		}
		m.get("/payments/" + declined.paymentID()).want(http.StatusOK).decode(&payment)
		if payment.Status != "declined" || payment.DeclineCode != "insufficient_funds" || payment.AmountCaptured != 0 {
			t.Errorf("the declined payment is %+v", payment)
		}

		m.fund(m.first, "alice", 1)
		m.retry("k", tooMuch).wantReplayOf(declined)
		m.charge("k", aliceToShop(1)).wantProblem(http.StatusUnprocessableEntity, "idempotency_key_reused")
		m.wantBalance("shop", 0)
		m.charge("another", tooMuch).want(http.StatusCreated).wantFresh()
		m.wantBalance("shop", aliceHas+1)
		m.wantBalance("alice", 0)
	})
}

// The overdraft is money that an account has.
func TestAnAccountPaysDownToItsFloorAndNoFurther(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		m.put("alice", `{"currency":"USD","overdraft_limit":50}`).want(http.StatusOK)
		m.charge("one cent too much", aliceToShop(aliceHas+51)).wantProblem(http.StatusPaymentRequired, "insufficient_funds")
		m.charge("all", aliceToShop(aliceHas+50)).want(http.StatusCreated)
		m.charge("one cent more", aliceToShop(1)).wantProblem(http.StatusPaymentRequired, "insufficient_funds")
		m.wantBalance("alice", -50)
	})
}
