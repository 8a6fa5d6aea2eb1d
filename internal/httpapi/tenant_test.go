package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// withoutIDs is the body of a problem without its request id.
func (a *answer) withoutIDs() string {
	return strings.ReplaceAll(string(a.body), a.requestID(), "")
}

// Ids as they are given out, of nothing.
const (
	neverAPayment = "/payments/pay_00000000000070008000000000000000"
	neverARefund  = "ref_00000000000070008000000000000000"
	neverAnEvent  = "evt_000000000000000100000000000070008000000000000000"
)

// A stranger is told the same as about what never was, so ids reveal nothing.
func TestAnotherMerchantsThingsDoNotExist(t *testing.T) {
	m := onTwoInstances(t)
	m.put("secret", `{"currency":"USD"}`).want(201)
	paid := m.charge("k", aliceToShop(100)).want(201)
	held, payment := m.authorize("hold", 100), paid.location()
	refund := m.post("refund", payment+"/refunds", `{"amount":1}`).want(201).location()
	m.putWebhook("secret", `{"url":"https://example.com"}`).want(201)
	stranger, event := m.another(t), m.awaitEvents(1)[0].ID

	never := strings.NewReplacer("s/secret", "s/missing", held, neverAPayment, refund,
		neverAPayment+"/refunds/"+neverARefund, event, neverAnEvent,
		payment, neverAPayment)
	for _, row := range []struct{ method, path, body string }{
		{"GET", "/accounts/secret", ""},
		{"GET", "/accounts/secret?at=2026-01-01T00:00:00Z", ""},
		{"GET", "/accounts/secret/entries", ""},
		{"DELETE", "/accounts/secret", ""},
		{"GET", payment, ""},
		{"GET", payment + "/refunds", ""},
		{"GET", payment + "/attempts", ""},
		{"GET", refund, ""},
		{"GET", "/events/" + event, ""},
		{"GET", neverAPayment + strings.TrimPrefix(refund, payment), ""},
		{"PATCH", payment, `{"description":"mine"}`},
		{"POST", held + "/capture", ""},
		{"POST", held + "/cancel", ""},
		{"POST", payment + "/refunds", `{"amount":1}`},
		{"GET", "/webhook-endpoints/secret", ""},
		{"GET", "/webhook-endpoints/secret/secret", ""},
		{"PUT", "/webhook-endpoints/secret/secret", ""},
		{"GET", "/webhook-endpoints/secret/attempts", ""},
		{"POST", "/webhook-endpoints/secret/test", ""},
		{"DELETE", "/webhook-endpoints/secret", ""},
		{"POST", "/events/" + event + "/redeliver", ""},
	} {
		// the second has an answer, which is not the stranger's
		for _, key := range []string{"new", "refund"} {
			header := http.Header{"Idempotency-Key": {key}, "If-Match": {`"1"`}}
			ask := func(path string) *answer {
				return stranger.send(m.first,
					call{method: row.method, path: path, header: header, body: row.body}).
					wantProblem("not_found")
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
	if p := m.get(payment).payment(); p.AmountRefunded != 1 || p.Description != "" ||
		p.Version != 2 {
		t.Errorf("a stranger changed what was paid: %+v", p)
	}
	if got := m.get("/accounts/secret").want(200).account(); got.Status != "open" {
		t.Errorf("a stranger closed it: %+v", got)
	}
	for _, list := range []string{
		"/payments", "/payments?account=secret", "/accounts",
		"/accounts/alice/entries", "/events", "/events?payment_id=" + paid.paymentID(),
		"/webhook-endpoints",
	} {
		theirs := stranger.get(list).want(200)
		if strings.Contains(string(theirs.body), "secret") ||
			strings.Contains(string(theirs.body), paid.paymentID()) {
			theirs.fail("shows what is another merchant's")
		}
	}
	stranger.wantUnderKey("k", "")
	stranger.charge("to it",
		aliceToShop(1).with("destination_account", "secret")).wantProblem("account_not_found")
	stranger.charge("from it",
		aliceToShop(1).with("source_account", "secret")).wantProblem("account_not_found")
	stranger.put("secret", `{"currency":"EUR"}`).want(201)
	m.get("/accounts/secret").want(200)
}

// At the same moment, and so in the same batches.
func TestMerchantsShareNoKeys(t *testing.T) {
	m := onTwoInstances(t)
	all := []*merchant{m, m.another(t), m.another(t)}
	for _, a := range atOnce(60, func(i int) *answer {
		each := all[i%len(all)]
		return each.chargeOn(each.either(i/3), fmt.Sprint("key ", i/3), aliceToShop(1).String())
	}) {
		a.want(201).wantFresh()
	}
	for _, each := range all {
		each.wantBalance("shop", 20)
	}
}

// The API key is judged before the idempotency key: no credential without the right to
// ask gets a stored answer. The refusals leave every key free.
func TestAuthorizationComesBeforeTheReplay(t *testing.T) {
	m := onTwoInstances(t)
	revoked, readOnly := m.secondKey(), m.readOnlyKey()
	reads, writes := m.oneOfEach()
	m.revoke(revoked)
	before := m.everything()
	for _, key := range []string{"new", "paid"} { // "paid" has an answer
		for _, write := range writes {
			write = write.with(http.Header{"Idempotency-Key": {key}})
			m.as(revoked).send(m.first, write).wantProblem("unauthorized")
			m.as(readOnly).send(m.first, write).wantProblem("forbidden")
		}
	}
	for _, read := range reads {
		m.as(revoked).send(m.other, read).wantProblem("unauthorized")
		if read.path == secretPath {
			m.as(readOnly).send(m.other, read).wantProblem("forbidden")
			continue
		}
		m.as(readOnly).send(m.other, read).want(200)
		read.method = http.MethodHead
		m.as(readOnly).send(m.other, read).want(200)
	}
	if after := m.everything(); after != before {
		t.Errorf("%s became %s", before, after)
	}
	m.charge("new", aliceToShop(1)).want(201).wantFresh()
}
