package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
)

// otherOrigins are what browsers send for a page of another origin, and what such a
// page can make of it.
func otherOrigins() map[string]http.Header {
	return map[string]http.Header{
		"another site":           {"Sec-Fetch-Site": {"cross-site"}},
		"another host of a site": {"Sec-Fetch-Site": {"same-site"}},
		"an old browser":         {"Origin": {"https://elsewhere.example"}},
		"a sandboxed page":       {"Origin": {"null"}},
		"a forged host of a proxy": {
			"Origin":           {"https://elsewhere.example"},
			"X-Forwarded-Host": {"elsewhere.example"},
		},
	}
}

// A cross-origin write is refused before anybody asks whose request it is, by every
// method that changes something.
func TestCrossOriginWriteIsRefused(t *testing.T) {
	m := onOneInstance(t)
	in := m.first
	reads, writes := m.oneOfEach()
	before := m.everything()
	for name, header := range otherOrigins() {
		t.Run(name, func(t *testing.T) {
			m := m.in(t)
			// the second has an answer, which is not replayed either
			for _, key := range []string{"k", "paid"} {
				for _, write := range writes {
					write = write.with(header).with(http.Header{"Idempotency-Key": {key}})
					m.send(in, write).wantProblem("forbidden")
					m.send(in, write.with(http.Header{"Authorization": nil})).wantProblem(
						"forbidden",
					)
				}
			}
			for _, read := range reads {
				m.send(in, read.with(header)).want(200)
			}
		})
	}
	if after := m.everything(); after != before {
		t.Errorf("%s became %s", before, after)
	}
	m.charge("k", aliceToShop(1)).want(201).wantFresh()
}

// A page of this service may write, and so may a caller without a browser.
func TestSameOriginAndNonBrowserWriteIsTaken(t *testing.T) {
	m := onOneInstance(t)
	url := m.first.url
	byTLS := strings.Replace(url, "http", "https", 1)
	for name, header := range map[string]http.Header{
		"no browser": {},
		"a page of ours under another name": {
			"Sec-Fetch-Site": {"same-origin"}, "Origin": {"https://payments.example"},
		},
		"a page of ours in an old browser":   {"Origin": {url}},
		"a page of ours behind a TLS proxy":  {"Origin": {byTLS}},
		"somebody who has typed the address": {"Sec-Fetch-Site": {"none"}},
	} {
		header.Set("Idempotency-Key", name)
		m.send(m.first, call{
			method: "POST", path: "/payments", body: aliceToShop(1).String(), header: header,
		}).want(201).wantFresh()
	}
	m.wantPayments(5)
}
