package httpapi_test

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/contract"
)

// secretPath is the only thing that a read-only key may not read.
const secretPath = "/webhook-endpoints/hook/secret"

// oneOfEach returns a request of each operation that takes an API key, and makes the things that
// it names. Each would succeed. A write needs a key, or ignores it.
func (m *merchant) oneOfEach() (reads, writes []call) {
	m.t.Helper()
	held := m.charge("held", aliceToShop(100).with("capture", false)).want(201).location()
	paid := m.charge("paid", aliceToShop(100)).want(201).location()
	canceled := m.charge("canceled", aliceToShop(1).with("capture", false)).want(201).location()
	refund := m.post("refund", paid+"/refunds", `{"amount":1}`).want(201).location()
	m.put("empty", `{"currency":"USD"}`).want(201)
	m.putWebhook("hook", `{"url":"https://example.com"}`).want(201)
	m.putWebhook("unused", `{"url":"https://example.com"}`).want(201)
	for _, path := range []string{
		"/accounts", "/accounts/alice", "/accounts/alice/entries", "/payments", paid,
		paid + "/refunds", refund, paid + "/attempts", "/events",
		"/events/" + m.awaitEvents(1)[0].ID,
		"/webhook-endpoints", "/webhook-endpoints/hook", "/webhook-endpoints/hook/attempts",
		secretPath,
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
		{method: "PUT", path: "/webhook-endpoints/more", body: `{"url":"https://example.com"}`},
		{method: "DELETE", path: "/webhook-endpoints/unused"},
		{
			method: "PUT", path: "/webhook-endpoints/hook/secret",
			header: http.Header{"If-Match": {"*"}},
		},
		{method: "POST", path: "/webhook-endpoints/hook/test"},
		{method: "POST", path: "/events/" + m.awaitEvents(1)[0].ID + "/redeliver"},
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

func TestRefusalNamesTheWrongParameterOnly(t *testing.T) {
	m := onOneInstance(t)
	for query, says := range map[string]string{
		"/payments?limt=5&limit=5":        "limt is not a parameter of this request",
		"/payments?limit=5&limit=5":       "limit is given twice",
		"/payments?limit=5&status=":       "status is empty",
		"/payments?limit=5&reference=%ff": "reference is not UTF-8",
		"/payments?limit=5&reference=%zz": "reference cannot be read: it is not percent-encoded",
		"/payments?limit=5&reference=a;b": "reference cannot be read: it is not percent-encoded",
		"/payments?%zz=5": "one of the query's names is not a parameter of " +
			"this request",
		"/payments?" + m.apiKey: "one of the query's names is not a parameter of " +
			"this request",
		"/payments?limit=5&account=%20": "account is not the id of any account",
		"/accounts/alice?At=1":          "At is not a parameter of this request",
		"/payments/pay_0?limit=5":       "limit is not a parameter of this request",
		"/payments?created_before=%ef%bb%bf2026-01-31T12:00:00Z": "created_before must be a " +
			"time as in " +
			"RFC 3339, such as 2026-01-31T12:00:00Z, of the years 0001 to 9999 (a + is written " +
			"%2B)",
	} {
		if got := m.get(query).wantProblem(malformed).problem().Detail; got != says {
			t.Errorf("%s: %s, want %s", query, got, says)
		}
	}
	m.get("/payments?&limit=5&").want(200)
}

func TestTimesAreThoseOfRFC3339(t *testing.T) {
	m := onOneInstance(t)
	ask := func(at string) *answer {
		return m.get("/payments?created_after=" + url.QueryEscape(at))
	}
	for _, at := range []string{
		"2026-01-31T12:00:00Z", "2026-01-31t12:00:00z", "2026-01-31T12:00:00.5z",
		"2026-01-31T12:00:00.1234567890123Z", "2026-01-31T12:00:00+23:59",
		"2026-01-31T12:00:00-00:00", "2024-02-29T00:00:00Z", "0001-01-01T00:00:00Z",
		"0000-12-31T23:00:00-01:00", "9999-12-31T23:59:59.999999Z", "1998-12-31T23:59:60Z",
		"1998-12-31t15:59:60.123-08:00",
	} {
		ask(at).want(200)
	}
	for _, at := range []string{
		"2026-01-31T12:00:00,5Z", "2026-01-31T12:00:00.Z", "2026-01-31T12:00:00+24:00",
		"2026-01-31T12:00:00+01:60", "2026-01-31T12:00:00+0100", "2026-01-31T12:00:00",
		"2026-01-31T12:00Z", "2026-01-31 12:00:00Z", "2026-01-31T24:00:00Z", "2026-01-31T1:00:00Z",
		"2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-31", "1769860800", "now",
		"0001-01-01T00:00:00+00:01", "0000-12-31T22:59:59-01:00", "9999-12-31T23:59:59-00:01",
		"9999-12-31T23:59:60Z", "1998-12-31T23:58:60Z", "1998-12-31T22:59:60Z",
		"1998-12-31T23:59:61Z", "1998-12-31T23:59:60+01:00", "+02026-01-31T12:00:00Z",
		"２026-01-31T12:00:00Z", " 2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z\n",
	} {
		detail := ask(at).wantProblem(malformed).problem().Detail
		if !strings.HasPrefix(detail, "created_after must be a time") {
			t.Errorf("%s: %s", at, detail)
		}
	}
	at := ask("2016-12-31T23:59:60Z").want(200)
	if next := ask("2017-01-01T00:00:00Z"); string(at.body) != string(next.body) {
		at.fail("differs from that of the next second: %s", next.body)
	}
}
