package httpapi_test

import (
	"net/http"
	"testing"
)

// Row 8 of the contract: a request is what it says, and not how it is written.
func TestHowARequestIsWrittenDoesNotMatter(t *testing.T) {
	const plain = `{"amount":100,"currency":"USD","source_account":"alice","destination_account":"shop"}`
	const full = `{"amount":100,"currency":"USD","source_account":"alice","destination_account":"shop",
		"reference":"order-1017","description":"Größe \"M\" / 😀","metadata":{"a":"1","b":"2"}}`
	rows := []struct {
		name         string
		first, again string
	}{
		{"members in another order", plain, `{"destination_account":"shop","source_account":"alice","currency":"USD","amount":100}`},
		{"white space", plain, "\r\n\t" + `{ "amount" : 100 ,"currency":"USD",
			"source_account":"alice",	"destination_account":"shop" }` + " \n"},
		{"escapes in values", plain, `{"amount":100,"currency":"\u0055SD",
			"source_account":"\u0061lice","destination_account":"sh\u006fp"}`},
		{"escapes in names", plain, `{"\u0061mount":100,"currency":"USD","source\u005faccount":"alice","destination_account":"shop"}`},
		{"capture is true", plain, plain[:len(plain)-1] + `,"capture":true}`},
		{"capture is null", plain, plain[:len(plain)-1] + `,"capture":null}`},
		{"description is empty", plain, plain[:len(plain)-1] + `,"description":""}`},
		{"description is null", plain, plain[:len(plain)-1] + `,"description":null}`},
		{"metadata is empty", plain, plain[:len(plain)-1] + `,"metadata":{}}`},
		{"metadata is null", plain, plain[:len(plain)-1] + `,"metadata":null}`},
		{"reference is null", plain, plain[:len(plain)-1] + `,"reference":null}`},
		{"reference is empty", plain, plain[:len(plain)-1] + `,"reference":""}`},
		{"payment_method is null", plain, plain[:len(plain)-1] + `,"payment_method":null}`},
		{"every default left out later", plain[:len(plain)-1] + `,"capture":true,"description":"","metadata":{},"reference":null}`, plain},
		{"metadata in another order", full, `{"metadata":{"b":"2","a":"1"},"amount":100,"currency":"USD","source_account":"alice",
			"destination_account":"shop","reference":"order-1017","description":"Größe \"M\" / 😀"}`},
		{"escapes that JSON allows and does not ask for", full, `{"amount":100,"currency":"USD","source_account":"alice",
			"destination_account":"shop","reference":"order\u002d1017","description":"Gr\u00f6\u00DFe \u0022M\u0022 \/ \ud83d\ude00",
			"metadata":{"\u0061":"\u0031","b":"2"}}`},
	}
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				m := m.another(t)
				first := m.chargeOn(m.first, "k", row.first).want(http.StatusCreated)
				m.chargeOn(m.other, "k", row.again).wantReplayOf(first)
				m.wantShopGot(100)
			})
		}
		t.Run("headers", func(t *testing.T) {
			m := m.another(t)
			first := m.chargeOn(m.first, "k", plain).want(http.StatusCreated)
			m.send(m.other, call{method: http.MethodPost, path: "/payments", body: plain, header: http.Header{
				"Idempotency-Key": {"k"}, "Content-Type": {"application/json; charset=UTF-8"}, "User-Agent": {"another"},
				"Accept": {"text/html"}, "Prefer": {"wait=1"}, "X-Forwarded-For": {"192.0.2.1"},
			}}).wantReplayOf(first)
		})
	})
}

// Row 8. A fingerprint of too little makes one of two intents: flexprice 2488 (BUGS 5).
func TestEveryFieldOfARequestMatters(t *testing.T) {
	original := aliceToShop(100).with("reference", "order-1017").with("description", "one").with("metadata", body{"a": "1", "b": "2"})
	rows := []struct {
		name string
		body body
	}{
		{"amount", original.with("amount", 101)},
		{"currency", original.with("currency", "EUR")},
		{"source_account", original.with("source_account", "world")},
		{"destination_account", original.with("destination_account", "world")},
		{"source and destination exchanged", original.with("source_account", "shop").with("destination_account", "alice")},
		{"reference", original.with("reference", "order-1018")},
		{"no reference", original.without("reference")},
		{"case of the reference", original.with("reference", "ORDER-1017")},
		{"description", original.with("description", "two")},
		{"no description", original.without("description")},
		{"a space more", original.with("description", "one ")},
		{"another form of the same letter", original.with("description", "ｏne")},
		{"reference and description exchanged", original.with("reference", "one").with("description", "order-1017")},
		{"metadata's value", original.with("metadata", body{"a": "1", "b": "3"})},
		{"metadata's name", original.with("metadata", body{"a": "1", "B": "2"})},
		{"metadata's values exchanged", original.with("metadata", body{"a": "2", "b": "1"})},
		{"a pair more", original.with("metadata", body{"a": "1", "b": "2", "c": ""})},
		{"a pair less", original.with("metadata", body{"a": "1"})},
		{"no metadata", original.without("metadata")},
		{"capture", original.with("capture", false)},
		{"a card instead", original.without("source_account").with("payment_method", "tok_visa")},
		{"an account that does not exist", original.with("source_account", "nobody")},
		{"an amount that is refused", original.with("amount", 0)},
	}
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		first := m.charge("k", original).want(http.StatusCreated)
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				m := m.in(t)
				other := m.retry("k", row.body).wantProblem(http.StatusUnprocessableEntity, "idempotency_key_reused")
				if other.paymentID() != first.paymentID() {
					other.fail("does not name %s", first.paymentID())
				}
			})
		}
		m.retry("k", original).wantReplayOf(first)
		m.wantShopGot(100)
	})
}

// What cannot be read is no request at all, and says nothing about the key.
func TestAMalformedRetryIsMalformed(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		first := m.charge("k", aliceToShop(100)).want(http.StatusCreated)
		for _, malformed := range []body{aliceToShop(100).with("amount", "100"), aliceToShop(100).without("currency")} {
			m.retry("k", malformed).wantProblem(http.StatusBadRequest, "invalid_request").wantFresh()
		}
		m.postOn(m.other, "k", "/payments?utm_source=mail", aliceToShop(100).String()).
			wantProblem(http.StatusBadRequest, "invalid_request").wantFresh()
		m.retry("k", aliceToShop(100)).wantReplayOf(first)
		m.wantShopGot(100)
	})
}
