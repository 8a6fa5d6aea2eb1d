package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// withoutIDs is the body of a problem without what is new in every answer.
func (a *answer) withoutIDs() string { return strings.ReplaceAll(string(a.body), a.requestID(), "") }

// SECURITY 1.
func TestAnotherMerchantsThingsDoNotExist(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		m.put("secret", `{"currency":"USD"}`).want(http.StatusCreated)
		paid := m.charge("k", aliceToShop(100)).want(http.StatusCreated)
		stranger := m.another(t)

		missing := stranger.get("/payments/pay_00000000000070008000000000000000").wantProblem(http.StatusNotFound, "not_found")
		if theirs := stranger.get("/payments/" + paid.paymentID()).want(http.StatusNotFound); theirs.withoutIDs() != missing.withoutIDs() {
			theirs.fail("differs from what a missing one gets: %s", missing.body)
		}
		missing = stranger.get("/accounts/missing").wantProblem(http.StatusNotFound, "not_found")
		if theirs := stranger.get("/accounts/secret").want(http.StatusNotFound); theirs.withoutIDs() != missing.withoutIDs() {
			theirs.fail("differs from what a missing one gets: %s", missing.body)
		}
		missing = stranger.get("/accounts/missing/entries").wantProblem(http.StatusNotFound, "not_found")
		if theirs := stranger.get("/accounts/secret/entries").want(http.StatusNotFound); theirs.withoutIDs() != missing.withoutIDs() {
			theirs.fail("differs from what a missing one gets: %s", missing.body)
		}
		missing = stranger.close("missing").wantProblem(http.StatusNotFound, "not_found")
		if theirs := stranger.close("secret").want(http.StatusNotFound); theirs.withoutIDs() != missing.withoutIDs() {
			theirs.fail("differs from what a missing one gets: %s", missing.body)
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

// Row 11 of the contract; SECURITY 2. A key that was unique globally: formance 1638 (BUGS 6).
func TestTwoMerchantsKeysHaveNothingToDoWithEachOther(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		stranger := m.another(t)
		mine := m.charge("k", aliceToShop(100)).want(http.StatusCreated)
		theirs := stranger.retry("k", aliceToShop(100)).want(http.StatusCreated).wantFresh()
		stranger.charge("other", aliceToShop(1)).want(http.StatusCreated)
		m.retry("other", aliceToShop(2)).want(http.StatusCreated).wantFresh()

		m.retry("k", aliceToShop(100)).wantReplayOf(mine)
		stranger.charge("k", aliceToShop(100)).wantReplayOf(theirs)
		m.wantBalance("shop", 102)
		stranger.wantBalance("shop", 101)
	})
}

// The same, at the same moment and so in the same batches.
func TestMerchantsWhoUseTheSameKeysAtOnceArePaidEach(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		crowds := make(chan []*answer, 3)
		all := []*merchant{m, m.another(t), m.another(t)}
		for _, each := range all {
			go func() {
				crowds <- each.crowd(40, func(i int) (string, body) { return fmt.Sprint("key ", i/8), aliceToShop(1) })
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

// SECURITY 4. A stored answer that went to another principal: polaris 3803 (BUGS 20).
func TestAuthorizationComesBeforeTheReplay(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		revoked, readOnly := m.secondKey(), m.readOnlyKey()
		first := m.charge("k", aliceToShop(100)).want(http.StatusCreated)
		m.revoke(revoked)

		for _, in := range []*instance{m.first, m.other} {
			m.as(revoked).chargeOn(in, "k", aliceToShop(100).String()).wantProblem(http.StatusUnauthorized, "unauthorized")
			m.as(readOnly).chargeOn(in, "k", aliceToShop(100).String()).wantProblem(http.StatusForbidden, "forbidden")
		}
		m.retry("k", aliceToShop(100)).wantReplayOf(first)
	})
}

func TestAKeyThatOnlyReadsReads(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
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
	})
}

// SECURITY 5.
func TestWhatTheServiceDecidesCannotBeSent(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
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
