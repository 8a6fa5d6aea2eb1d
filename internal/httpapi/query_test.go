package httpapi_test

import (
	"maps"
	"net/http"

	"github.com/paymentsvc/paymentsvc/lab/contract"
)

// oneOfEach returns a request of each operation that takes an API key, and makes the things that
// it names. Each would succeed. A write needs a key, or ignores it.
func (m *merchant) oneOfEach() (reads, writes []call) {
	m.t.Helper()
	held := m.charge("held", aliceToShop(100).with("capture", false)).want(201).location()
	paid := m.charge("paid", aliceToShop(100)).want(201).location()
	canceled := m.charge("canceled", aliceToShop(1).with("capture", false)).want(201).location()
	refund := m.post("refund", paid+"/refunds", `{"amount":1}`).want(201).location()
	m.put("empty", `{"currency":"USD"}`).want(201)
	for _, path := range []string{
		"/accounts", "/accounts/alice", "/accounts/alice/entries", "/payments", paid, paid +
			"/refunds", refund,
	} {
		reads = append(reads, call{path: path})
	}
	writes = []call{
		{method: "POST", path: "/payments", body: aliceToShop(1).String()},
		{method: "POST", path: held + "/capture"},
		{method: "POST", path: canceled + "/cancel"},
		{method: "POST", path: paid + "/refunds"},
		{
			method: "PATCH", path: paid, body: `{"description":"a gift"}`,
			header: http.Header{"If-Match": {"*"}},
		},
		{method: "PUT", path: "/accounts/bob", body: `{"currency":"USD"}`},
		{method: "DELETE", path: "/accounts/empty"},
	}
	described := 0
	for _, operation := range contract.Published().Operations() {
		if operation.Security == nil { // where it is empty, anybody may ask
			described++
		}
	}
	if len(reads)+len(writes) != described {
		m.t.Errorf("the contract describes %d operations that take an API key, and not %d",
			described, len(reads)+len(writes))
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
