package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
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
	m.put("rich", `{"currency":"USD","overdraft_limit":null}`).want(201)
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
		return `{"currency":"USD","source_account":"rich","destination_account":"shop","amount":` +
			number + `}`
	}
	var rows []textRow
	for _, each := range []struct {
		status  int
		code    string
		numbers []string
	}{
		{201, "", []string{"1", "100", "9007199254740991"}},
		{400, malformed, []string{
			"1.5", "1.0", "100.00", "1e3", "1E3", "1e0", "1e-1", "10e-1", "-1.5", `"100"`, `""`,
			"null", "true", "[1]", "{}",
			"NaN", "Infinity", "-Infinity", "0x10", "1_000", "01", "+1", "--1", "1,000", ".5",
			"1.", "-", "１",
		}},
		{422, refused, []string{
			"0", "-0", "-1", "-100", "9007199254740992", "9007199254740993", "9223372036854775807",
			"9223372036854775808",
			"-9223372036854775808", "-9223372036854775809", "18446744073709551615",
			"18446744073709551616", "100000000000000000000",
			// These are 1, 4 and 100 modulo 2^64 and more.
			"18446744073709551617", "18446744073709551620", "18446744073709551716",
			"184467440737095516170",
			"340282366920938463463374607431768211457", "-18446744073709551515", "1" +
				strings.Repeat("0", 400), strings.Repeat("9", 60_000),
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
		{"mixed case", currency("Usd"), 422, refused},
		{"unknown", currency("ZZZ"), 422, refused},
		{"of the past", currency("DEM"), 422, refused},
		{"no currency", currency("XXX"), 422, refused},
		{"for tests", currency("XTS"), 422, refused},
		{"a number", currency("840"), 422, refused},
		{"a sign", currency("$"), 422, refused},
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
		{"objects", objects, 400, malformed},
		{"in metadata", charging(`"metadata":{"a":` + arrays + `},`), 400, malformed},
		{"in a text's place", charging(`"description":` + objects + `,`), 400, malformed},
		{
			"in an amount's place",
			strings.Replace(charging(""), `"amount":1`, `"amount":`+arrays, 1), 400, malformed,
		},
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
		{
			"an account that no account can be",
			strings.Replace(charging(""), "shop", long(65), 1), 422, "account_not_found",
		},
		{
			"an account without a name", strings.Replace(charging(""), "shop", "", 1), 422,
			"account_not_found",
		},
	})
}

// What comes with a later release is refused by name, and not silently left undone.
func TestUnsupportedPaymentMethodIsRefused(t *testing.T) {
	m := onOneInstance(t)
	card := aliceToShop(1).without("source_account").with("payment_method", "tok_visa")
	later := m.charge("k", card).wantProblem(refused)
	later.wantErrorAt("/payment_method")
	if !strings.Contains(later.problem().Detail, "in this release") {
		later.fail("does not say that this release cannot do it")
	}
	m.wantPayments(0)
}

func TestABodyOverTheLimitIsNotRead(t *testing.T) {
	m := onOneInstance(t)
	in := m.first
	exactly := charging("")
	exactly += strings.Repeat(" ", 64<<10-len(exactly))
	m.chargeOn(in, "a byte too many", exactly+" ").wantProblem("payload_too_large")
	m.chargeOn(in, "exactly", exactly).want(201)

	// A gigabyte is announced, and the answer is there after its first 65 kB.
	announced := strings.Replace(m.headOfCharge(1<<30, "Idempotency-Key: k"),
		"Connection: close\r\n", "", 1)
	chunked := strings.Replace(announced, "Content-Length: 1073741824",
		"Transfer-Encoding: chunked", 1) + "40000000\r\n"
	for _, head := range []string{announced, chunked} {
		res := m.exchange(m.connect(in), head+exactly+" ")
		if res != nil && !res.Close {
			t.Error("the connection stays open, with most of a gigabyte still to come")
		}
		m.readCharge(res, "k").wantProblem("payload_too_large")
	}
	m.wantPayments(1)
}

func TestABodyIsPlainJSON(t *testing.T) {
	m := onOneInstance(t)
	in := m.first
	var compressed bytes.Buffer
	writer := gzip.NewWriter(&compressed)
	if _, err := writer.Write([]byte(charging(""))); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	for i, test := range []struct {
		name   string
		header http.Header
		text   string
		status int
	}{
		{"JSON", http.Header{"Content-Type": {"application/json"}}, charging(""), 201},
		{
			"JSON in UTF-8",
			http.Header{"Content-Type": {"application/json; charset=utf-8"}},
			charging(""), 201,
		},
		{
			"the type in capitals",
			http.Header{"Content-Type": {"Application/JSON"}},
			charging(""), 201,
		},
		{"no type", http.Header{"Content-Type": nil}, charging(""), 415},
		{"an empty type", http.Header{"Content-Type": {""}}, charging(""), 415},
		{"text", http.Header{"Content-Type": {"text/plain"}}, charging(""), 415},
		{
			"two types",
			http.Header{"Content-Type": {"application/json", "text/plain"}},
			charging(""), 415,
		},
		{
			"a form",
			http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
			"amount=1", 415,
		},
		{
			"the type that a cross-origin form can send",
			http.Header{"Content-Type": {"text/plain; application/json"}},
			charging(""), 415,
		},
		{
			"a type that is like JSON",
			http.Header{"Content-Type": {"application/json-seq"}},
			charging(""), 415,
		},
		{
			"a merge patch",
			http.Header{"Content-Type": {"application/merge-patch+json"}},
			charging(""), 415,
		},
		{
			"a type that is none",
			http.Header{"Content-Type": {"application/json;;"}},
			charging(""), 415,
		},
		{"compressed", http.Header{"Content-Encoding": {"gzip"}}, compressed.String(), 415},
		{"compressed, as it says", http.Header{"Content-Encoding": {"gzip"}}, charging(""), 415},
		{"compressed, as it does not say", nil, compressed.String(), 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := m.in(t)
			header := http.Header{"Idempotency-Key": {fmt.Sprint("key ", i)}}
			maps.Copy(header, test.header)
			m.send(in, call{
				method: "POST", path: "/payments", header: header,
				body: test.text,
			}).want(test.status)
		})
	}
	m.wantPayments(3)
}
