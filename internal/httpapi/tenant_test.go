package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// withoutIDs is the body of a problem without what is new in every answer.
func (a *answer) withoutIDs() string { return strings.ReplaceAll(string(a.body), a.requestID(), "") }

// Ids as they are given out, of nothing.
const (
	neverAPayment = "/payments/pay_00000000000070008000000000000000"
	neverARefund  = "ref_00000000000070008000000000000000"
)

// A stranger is told the same as about what never was, so ids reveal nothing.
func TestAnotherMerchantsThingsDoNotExist(t *testing.T) {
	acrossTwoInstances(t, func(t *testing.T, m *merchant) {
		m.put("secret", `{"currency":"USD"}`).want(http.StatusCreated)
		paid := m.charge("k", aliceToShop(100)).want(http.StatusCreated)
		held, payment := m.authorize("hold", 100), paid.header.Get("Location")
		refund := m.post("refund", payment+"/refunds", `{"amount":1}`).want(http.StatusCreated).header.Get("Location")
		stranger := m.another(t)

		never := strings.NewReplacer("secret", "missing", held, neverAPayment, refund, neverAPayment+"/refunds/"+neverARefund,
			payment, neverAPayment)
		for _, row := range []struct{ method, path, body string }{
			{http.MethodGet, "/accounts/secret", ""},
			{http.MethodGet, "/accounts/secret?at=2026-01-01T00:00:00Z", ""},
			{http.MethodGet, "/accounts/secret/entries", ""},
			{http.MethodDelete, "/accounts/secret", ""},
			{http.MethodGet, payment, ""},
			{http.MethodGet, payment + "/refunds", ""},
			{http.MethodGet, refund, ""},
			{http.MethodGet, neverAPayment + strings.TrimPrefix(refund, payment), ""},
			{http.MethodPatch, payment, `{"description":"mine"}`},
			{http.MethodPost, held + "/capture", ""},
			{http.MethodPost, held + "/cancel", ""},
			{http.MethodPost, payment + "/refunds", `{"amount":1}`},
		} {
			for _, key := range []string{"new", "refund"} { // the second has an answer, which is not the stranger's
				header := http.Header{"Idempotency-Key": {key}, "If-Match": {`"1"`}}
				ask := func(path string) *answer {
					return stranger.send(m.first, call{method: row.method, path: path, header: header, body: row.body}).
						wantProblem(http.StatusNotFound, "not_found")
				}
				theirs, missing := ask(row.path), ask(never.Replace(row.path))
				if theirs.withoutIDs() != missing.withoutIDs() {
					theirs.fail("differs from what a missing one gets: %s", missing.body)
				}
			}
		}
		if p := m.get(held).payment(); p.Status != "authorized" || p.Version != 1 {
			t.Errorf("a stranger changed what is held: %+v", p)
		}
		if p := m.get(payment).payment(); p.AmountRefunded != 1 || p.Description != "" || p.Version != 2 {
			t.Errorf("a stranger changed what was paid: %+v", p)
		}
		if got := m.get("/accounts/secret").want(http.StatusOK).account(); got.Status != "open" {
			t.Errorf("a stranger closed it: %+v", got)
		}
		for _, list := range []string{"/payments", "/payments?account=secret", "/accounts", "/accounts/alice/entries"} {
			theirs := stranger.get(list).want(http.StatusOK)
			if strings.Contains(string(theirs.body), "secret") || strings.Contains(string(theirs.body), paid.paymentID()) {
				theirs.fail("shows what is another merchant's")
			}
		}
		stranger.wantUnderKey("k", "")
		stranger.charge("to it", aliceToShop(1).with("destination_account", "secret")).wantProblem(422, "account_not_found")
		stranger.charge("from it", aliceToShop(1).with("source_account", "secret")).wantProblem(422, "account_not_found")
		stranger.put("secret", `{"currency":"EUR"}`).want(http.StatusCreated)
		m.get("/accounts/secret").want(http.StatusOK)
	})
}

// At the same moment, and so in the same batches.
func TestMerchantsWhoUseTheSameKeysAtOnceArePaidEach(t *testing.T) {
	acrossTwoInstances(t, func(t *testing.T, m *merchant) {
		crowds := make(chan []*answer, 3)
		all := []*merchant{m, m.another(t), m.another(t)}
		for _, each := range all {
			go func() {
				crowds <- atOnce(40, func(i int) *answer {
					return each.chargeOn(each.either(i), fmt.Sprint("key ", i/8), aliceToShop(1).String())
				})
			}()
		}
		for range all {
			answers := <-crowds
			for key := range 5 {
				wantOneExecution(t, answers[key*8:key*8+8]).want(http.StatusCreated)
			}
		}
		for _, each := range all {
			each.wantBalance("shop", 5)
		}
	})
}

// A stored answer goes to nobody who may not ask for it.
func TestAuthorizationComesBeforeTheReplay(t *testing.T) {
	acrossTwoInstances(t, func(t *testing.T, m *merchant) {
		revoked, readOnly := m.secondKey(), m.readOnlyKey()
		one, other := m.authorize("one", 100), m.authorize("other", 100)
		requests := []struct{ key, path, body string }{
			{"charge", "/payments", aliceToShop(100).String()},
			{"capture", one + "/capture", ""},
			{"cancel", other + "/cancel", ""},
			{"refund", one + "/refunds", `{"amount":1}`},
		}
		first := map[string]*answer{}
		for _, r := range requests {
			first[r.key] = m.post(r.key, r.path, r.body).wantFresh()
		}
		m.revoke(revoked)

		for _, r := range requests {
			for _, in := range []*instance{m.first, m.other} {
				m.as(revoked).postOn(in, r.key, r.path, r.body).wantProblem(http.StatusUnauthorized, "unauthorized")
				m.as(readOnly).postOn(in, r.key, r.path, r.body).wantProblem(http.StatusForbidden, "forbidden")
			}
			m.repost(r.key, r.path, r.body).wantReplayOf(first[r.key])
		}
	})
}

func TestAKeyThatOnlyReadsReads(t *testing.T) {
	acrossTwoInstances(t, func(t *testing.T, m *merchant) {
		paid := m.charge("k", aliceToShop(100)).want(http.StatusCreated)
		reader := m.as(m.readOnlyKey())
		reader.get("/payments/" + paid.paymentID()).want(http.StatusOK)
		reader.get("/payments?idempotency_key=k").want(http.StatusOK)
		reader.get("/accounts/alice").want(http.StatusOK)
		for _, list := range []string{"/payments", "/accounts", "/accounts/alice/entries"} {
			reader.get(list).want(http.StatusOK)
		}
		reader.close("shop").wantProblem(http.StatusForbidden, "forbidden")
		reader.send(m.first, call{method: http.MethodHead, path: "/accounts/alice"}).want(http.StatusOK)
		reader.put("new", `{"currency":"USD"}`).wantProblem(http.StatusForbidden, "forbidden")
		m.get("/accounts/new").want(http.StatusNotFound)

		held := m.authorize("hold", 100)
		before := string(m.get("/payments").want(http.StatusOK).body)
		for _, key := range []string{"new", "hold"} {
			reader.charge(key, aliceToShop(1)).wantProblem(http.StatusForbidden, "forbidden")
			for _, path := range []string{held + "/capture", held + "/cancel", "/payments/" + paid.paymentID() + "/refunds"} {
				reader.post(key, path, "").wantProblem(http.StatusForbidden, "forbidden")
			}
		}
		reader.patch(held, `"1"`, `{"description":"mine"}`).wantProblem(http.StatusForbidden, "forbidden")
		if after := m.get("/payments").want(http.StatusOK); string(after.body) != before {
			after.fail("differs from what was there before: %s", before)
		}
		m.charge("new", aliceToShop(1)).want(http.StatusCreated).wantFresh() // the refusals used up no key
	})
}

func TestWhatTheServiceDecidesCannotBeSent(t *testing.T) {
	acrossTwoInstances(t, func(t *testing.T, m *merchant) {
		for _, member := range []string{"merchant_id", "status", "id", "created_at", "version", "amount_captured", "decline_code"} {
			m.charge("k", aliceToShop(100).with(member, 1)).wantProblem(http.StatusBadRequest, "invalid_request").wantErrorAt("/" + member)
		}
		for _, member := range []string{"merchant_id", "status", "id", "created_at", "version", "balance", "held"} {
			m.put("new", body{"currency": "USD", member: 1}.String()).
				wantProblem(http.StatusBadRequest, "invalid_request").wantErrorAt("/" + member)
		}
		m.wantPayments(0)
	})
}
