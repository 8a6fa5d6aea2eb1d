package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const (
	malformed = "invalid_request" // 400: it cannot be read
	refused   = "unprocessable"   // 422: it was read
)

// textRow is a charge as text, and what becomes of it.
type textRow struct {
	name   string
	text   string
	status int
	code   string // "" if it is paid
}

// judge sends each row under a key of its own, and checks that only what is paid was
// paid.
func judge(t *testing.T, rows []textRow) {
	t.Helper()
	m := onOneInstance(t)
	in := m.first
	for _, id := range []string{"rich", "bank"} {
		m.put(id, `{"currency":"USD","overdraft_limit":null}`).want(201)
	}
	paid := 0
	for i, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			m := m.in(t)
			a := m.chargeOn(in, fmt.Sprint("key ", i), row.text).want(row.status)
			if row.code != "" {
				a.wantProblem(row.code)
			} else {
				paid++
			}
		})
	}
	m.wantPayments(paid)
	for i, row := range rows {
		if row.code != "" && row.code != "insufficient_funds" {
			m.charge(fmt.Sprint("key ", i), aliceToShop(1)).want(201).wantFresh()
		}
	}
}

// charging puts more text at the beginning of a charge's object.
func charging(members string) string {
	return "{" + members +
		`"amount":1,"currency":"USD","source_account":"alice","destination_account":"shop"}`
}

// An amount is never rounded.
func TestAnAmountIsAnIntegerOrNothing(t *testing.T) {
	amount := func(number string) string {
		return `{"currency":"USD","source_account":"rich","destination_account":"bank","amount":` +
			number + `}`
	}
	var rows []textRow
	for _, each := range []struct {
		status  int
		code    string
		numbers []string
	}{
		{201, "", []string{"9007199254740991"}},
		{400, malformed, []string{
			"1.5", "1.0", "1e3", "1E0", "10e-1", `"100"`, `""`, "null", "true", "[1]", "{}", "NaN",
			"Infinity", "0x10", "1_000", "01", "+1", "1,000", ".5", "1.", "-", "１",
		}},
		{422, refused, []string{
			"0", "-0", "-1", "9007199254740992", "9223372036854775807", "9223372036854775808",
			"-9223372036854775809", "18446744073709551616",
			// These are 1 and 100 modulo 2^64, and 1 modulo 2^128.
			"18446744073709551617", "18446744073709551716",
			"340282366920938463463374607431768211457", "-18446744073709551515",
			strings.Repeat("9", 60_000),
		}},
	} {
		for _, number := range each.numbers {
			name := number
			if len(name) > 50 {
				name = name[:20] + fmt.Sprint(" and ", len(number)-20, " more")
			}
			rows = append(rows, textRow{name, amount(number), each.status, each.code})
		}
	}
	judge(t, rows)
}

func TestACurrencyIsAnActiveISOCodeInUpperCase(t *testing.T) {
	currency := func(code string) string { return strings.Replace(charging(""), "USD", code, 1) }
	judge(t, []textRow{
		{"of the account", currency("USD"), 201, ""},
		{"of another account", currency("JPY"), 422, "currency_mismatch"},
		{"lower case", currency("usd"), 422, refused},
		{"of the past", currency("DEM"), 422, refused},
		{"no currency", currency("XXX"), 422, refused},
		{"a number", currency("840"), 422, refused},
		{"empty", currency(""), 422, refused},
		{"with a space", currency("USD "), 422, refused},
		{"another letter that looks the same", currency("UЅD"), 422, refused},
	})
}

func TestDeepNestingIsMalformed(t *testing.T) {
	const depth = 10_000
	arrays, objects := strings.Repeat("[", depth)+strings.Repeat("]", depth),
		strings.Repeat(`{"":`, depth)+"1"+strings.Repeat("}", depth)
	judge(t, []textRow{
		{"arrays", arrays, 400, malformed},
		{"arrays without an end", strings.Repeat("[", 60_000), 400, malformed},
		{"in metadata", charging(`"metadata":{"a":` + arrays + `},`), 400, malformed},
		{"in a text's place", charging(`"description":` + objects + `,`), 400, malformed},
		{"in an unknown member", charging(`"more":` + objects + `,`), 400, malformed},
	})
}

// The contract's limits, in characters and not in bytes.
func TestTextMayBeAsLongAsTheContractSays(t *testing.T) {
	pairs := func(n int, key, value string) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`"%02d%s":"%s"`, i, key, value))
		}
		return `"metadata":{` + strings.Join(all, ",") + `},`
	}
	long := func(n int) string { return strings.Repeat("😀", n) }
	judge(t, []textRow{
		{"description of 500", charging(`"description":"` + long(500) + `",`), 201, ""},
		{"description of 501", charging(`"description":"` + long(501) + `",`), 422, refused},
		{"reference of 128", charging(`"reference":"` + long(128) + `",`), 201, ""},
		{"reference of 129", charging(`"reference":"` + long(129) + `",`), 422, refused},
		{"50 pairs", charging(pairs(50, "", "")), 201, ""},
		{"51 pairs", charging(pairs(51, "", "")), 422, refused},
		{"a name of 40", charging(pairs(1, long(38), "")), 201, ""},
		{"a name of 41", charging(pairs(1, long(39), "")), 422, refused},
		{"an empty name", charging(`"metadata":{"":"a"},`), 422, refused},
		{"a value of 500", charging(pairs(1, "", long(500))), 201, ""},
		{"a value of 501", charging(pairs(1, "", long(501))), 422, refused},
	})
}

func TestABodyOverTheLimitIsNotRead(t *testing.T) {
	m := onOneInstance(t)
	exactly := charging("")
	exactly += strings.Repeat(" ", 64<<10-len(exactly))
	m.chargeOn(m.first, "a byte too many", exactly+" ").wantProblem("payload_too_large")
	m.chargeOn(m.first, "exactly", exactly).want(201)
	m.wantPayments(1)
}

func TestABodyIsPlainJSON(t *testing.T) {
	m := onOneInstance(t)
	var compressed bytes.Buffer
	writer := gzip.NewWriter(&compressed)
	if _, err := writer.Write([]byte(charging(""))); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	json, none := "application/json", []string(nil)
	for i, test := range []struct {
		types, encodings []string
		text             string
		status           int
	}{
		{[]string{json}, none, charging(""), 201},
		{[]string{"Application/JSON; charset=utf-8"}, none, charging(""), 201},
		{none, none, charging(""), 415},
		{[]string{""}, none, charging(""), 415},
		{[]string{json, "text/plain"}, none, charging(""), 415},
		{[]string{"application/x-www-form-urlencoded"}, none, "amount=1", 415},
		// the type that a cross-origin form can send
		{[]string{"text/plain; application/json"}, none, charging(""), 415},
		{[]string{"application/json-seq"}, none, charging(""), 415},
		{[]string{"application/merge-patch+json"}, none, charging(""), 415},
		{[]string{"application/json;;"}, none, charging(""), 415},
		{[]string{json}, []string{"gzip"}, compressed.String(), 415},
		{[]string{json}, []string{"gzip"}, charging(""), 415},
		{[]string{json}, none, compressed.String(), 400},
	} {
		header := http.Header{
			"Idempotency-Key": {fmt.Sprint("key ", i)}, "Content-Type": test.types,
			"Content-Encoding": test.encodings,
		}
		m.send(m.first, call{
			method: "POST", path: "/payments", header: header, body: test.text,
		}).want(test.status)
	}
	m.wantPayments(2)
}

func TestUnreadableTextIsNamed(t *testing.T) {
	m := onOneInstance(t)
	for text, says := range map[string]string{
		`{"reference":"\ud800"}`: "at byte 14: a lone surrogate, which is half of a " +
			"character",
		`{"reference":"\udc00\ud800"}`: "at byte 14: a lone surrogate, which is half of a " +
			"character",
		`{"\ud800":1}`: "at byte 2: a lone surrogate, which is half of a " +
			"character",
		"\xef\xbb\xbf{}":           "at byte 0: a byte-order mark; send UTF-8 without one",
		"\xff\xfe{\x00}\x00":       "at byte 0: it is UTF-16 or UTF-32; send UTF-8",
		"{\x00}\x00":               "at byte 1: it is UTF-16 or UTF-32; send UTF-8",
		"{\"reference\":\"\xff\"}": "at byte 14: invalid UTF-8",
		"{\"reference\":\"a\tb\"}": `at byte 15: invalid character '\t' in string`,
		`{"amount":NaN}`:           "at byte 10: invalid character 'N' at start of value",
		`{"amount":1`:              "at byte 11: it ends early",
		"":                         "at byte 0: it is empty",
		charging("") + "x": fmt.Sprintf("at byte %d: invalid character 'x' after top-level value",
			len(charging(""))),
	} {
		a := m.send(m.first, call{
			method: "POST", path: "/payments", body: text,
			header: http.Header{"Idempotency-Key": {"k"}, "Content-Type": {"application/json"}},
		}).wantProblem(malformed)
		if got := a.problem(); got.Detail != "the body is not valid JSON "+says {
			t.Errorf("%q: %s, want %s", text, got.Detail, says)
		}
	}
	m.chargeOn(m.first, "k", `{"reference":"\ud800"}`).wantErrorAt("/reference")
}
