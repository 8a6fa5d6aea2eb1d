package httpapi_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/contract"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// oneOfEach makes what is asked about, and returns a request of each operation that takes an API key. Each would succeed; those that
// write need a key, or do not mind one.
func (m *merchant) oneOfEach() (reads, writes []call) {
	m.t.Helper()
	held := m.charge("held", aliceToShop(100).with("capture", false)).want(http.StatusCreated).header.Get("Location")
	paid := m.charge("paid", aliceToShop(100)).want(http.StatusCreated).header.Get("Location")
	canceled := m.charge("canceled", aliceToShop(1).with("capture", false)).want(http.StatusCreated).header.Get("Location")
	refund := m.post("refund", paid+"/refunds", `{"amount":1}`).want(http.StatusCreated).header.Get("Location")
	m.put("empty", `{"currency":"USD"}`).want(http.StatusCreated)
	for _, path := range []string{
		"/accounts", "/accounts/alice", "/accounts/alice/entries", "/payments", paid, paid + "/refunds", refund,
	} {
		reads = append(reads, call{method: http.MethodGet, path: path})
	}
	writes = []call{
		{method: http.MethodPost, path: "/payments", body: aliceToShop(1).String()},
		{method: http.MethodPost, path: held + "/capture"},
		{method: http.MethodPost, path: canceled + "/cancel"},
		{method: http.MethodPost, path: paid + "/refunds"},
		{method: http.MethodPatch, path: paid, body: `{"description":"a gift"}`, header: http.Header{"If-Match": {"*"}}},
		{method: http.MethodPut, path: "/accounts/bob", body: `{"currency":"USD"}`},
		{method: http.MethodDelete, path: "/accounts/empty"},
	}
	described := 0
	for _, operation := range contract.Published().Operations() {
		if operation.Security == nil { // where it is empty, anybody may ask
			described++
		}
	}
	if len(reads)+len(writes) != described {
		m.t.Errorf("the contract describes %d operations that take an API key, and not %d", described, len(reads)+len(writes))
	}
	return reads, writes
}

// with is the request with more in its header.
func (c call) with(header http.Header) call {
	all := maps.Clone(c.header)
	if all == nil {
		all = http.Header{}
	}
	maps.Copy(all, header)
	c.header = all
	return c
}

// A misspelt parameter is no parameter: whoever sent it would take the answer for another question's. What was sent may be an
// API key, so it is not repeated; who has no other is told so first, and that it is not logged is checked after every test.
func TestAnUnknownQueryParameterIsRefusedEverywhere(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := newInstance(t, db.URL)
	m := newMerchant(t, db, in, in)
	all := slices.Concat(m.oneOfEach())
	before := m.everything()
	for _, query := range []string{
		"unknown=1", "unknown", "=", "=1", "%zz", "a;b", "unknown=1&unknown=2", "Limit=1", "api_key=" + m.apiKey,
	} {
		for i, c := range all {
			c.path += "?" + query
			c = c.with(http.Header{"Idempotency-Key": {fmt.Sprint("key ", i)}})
			if told := m.send(in, c).wantProblem(http.StatusBadRequest, malformed); strings.Contains(string(told.body), m.apiKey) {
				told.fail("repeats an API key")
			}
			m.send(in, c.with(http.Header{"Authorization": nil})).wantProblem(http.StatusUnauthorized, "unauthorized")
		}
	}
	if after := m.everything(); after != before {
		t.Errorf("%s became %s", before, after)
	}
	for i, c := range all {
		c.path += []string{"", "?", "?&"}[i%3] // which name none
		a := m.send(in, c.with(http.Header{"Idempotency-Key": {fmt.Sprint("key ", i)}})).wantFresh()
		if a.status >= http.StatusMultipleChoices {
			a.fail("should be what it is without a query")
		}
	}
}
