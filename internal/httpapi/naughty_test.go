package httpapi_test

import (
	"encoding/json"
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

// naughtyTexts have broken some program: text that looks like a number, a command, a
// query or a page, and every kind of invisible character. They are in
// testdata/naughty.json, except the texts that are not UTF-8.
func naughtyTexts(t *testing.T) []string {
	t.Helper()
	file, err := os.ReadFile("testdata/naughty.json")
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	if err := json.Unmarshal(file, &texts); err != nil {
		t.Fatal(err)
	}
	return append(texts, "\xff", "\xfe\xff", "\xc0\x80", "\xc3", "\xc3\x28", "\xe2\x82",
		"\xed\xa0\x80", "\xed\xb0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "caf\xe9",
		"\x80", "a\xffb", "\xef\xbf")
}

// expectation is what becomes of a request with a text. No text makes the service fail.
type expectation int

const (
	refuses expectation = iota
	accepts
	either // the text may mean something there
)

func acceptsIf(condition bool) expectation {
	if condition {
		return accepts
	}
	return refuses
}

// naughtyCall is a request that has a text in one place.
type naughtyCall struct {
	call
	want   expectation
	member string // of the answer, which must equal the text; "": none
}

// A text is accepted and comes back as it was sent, or it is refused and changes
// nothing.
func TestNaughtyTextComesBackUnchangedOrIsRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := newInstanceWith(t, db.URL, settings{uncompared: true})
	m := newMerchant(t, db, in, in)
	big := aliceToShop(1_000_000).with("source_account", "world")
	payment := m.charge("big", big).want(201).location()
	var paid, opened int
	var counting sync.Mutex // guards both
	texts := make(chan string)
	var senders sync.WaitGroup
	for worker := range 2 { // more would take the machine from the other tests
		senders.Go(func() {
			sent := 0
			for text := range texts {
				for _, c := range callsWith(text, payment, fmt.Sprint(worker, " ", sent)) {
					// With the race detector, the whole would take minutes.
					if sent++; withRaceDetector && sent%5 != 0 {
						continue
					}
					a := m.send(m.first, c.call)
					a.wantNaughty(c, text)
					counting.Lock()
					if a.status == http.StatusCreated && !a.replayed() && c.path == "/payments" {
						paid++
					}
					if a.status == http.StatusCreated && c.method == http.MethodPut {
						opened++
					}
					counting.Unlock()
				}
			}
		})
	}
	all := naughtyTexts(t)
	for _, text := range all {
		texts <- text
	}
	close(texts)
	senders.Wait()
	m.wantCount(3+paid, `SELECT count(*) FROM payments WHERE merchant_id = $1`, m.id)
	m.wantCount(3+opened, `SELECT count(*) FROM accounts WHERE merchant_id = $1`, m.id)
	if len(all) < 515 || paid < len(all)/5 {
		t.Errorf("of %d texts, %d are in payments: the test shows too little", len(all), paid)
	}
}

// wantNaughty checks the answer to a request with the text.
func (a *answer) wantNaughty(c naughtyCall, text string) {
	a.t.Helper()
	accepted := a.status >= 200 && a.status < 300
	if a.status >= 500 || c.want != either && accepted != (c.want == accepts) {
		a.fail("is the wrong answer to %q", text)
	}
	if !accepted || c.member == "" {
		return
	}
	var got map[string]any
	a.decode(&got)
	pairs, _ := got["metadata"].(map[string]any)
	switch {
	case c.member == "metadata" && pairs[text] != "x":
		a.fail("has another name than %q", text)
	case got[c.member] == nil && text == "": // no reference
	case c.member != "metadata" && got[c.member] != text, pairs["a"] != nil && pairs["a"] != text:
		a.fail("has another text than %q", text)
	}
}

// callsWith returns requests that have the text in every place where a request can have
// a text.
func callsWith(text, payment, unique string) []naughtyCall {
	all := append(bodiesWith(text, payment), pathsAndQueriesWith(text)...)
	if !strings.ContainsFunc(text, func(c rune) bool {
		return c < ' ' && c != '\t' || c == 0x7f
	}) {
		all = append(all, fieldsWith(text)...) // net/http's client sends no others
	}
	for i := range all {
		if all[i].method == http.MethodPost && all[i].header["Idempotency-Key"] == nil {
			key := http.Header{"Idempotency-Key": {fmt.Sprint("naughty ", unique, " ", i)}}
			all[i].call = all[i].with(key)
		}
	}
	return all
}

func bodiesWith(text, payment string) []naughtyCall {
	// By the contract's words and not by the code's.
	storable := func(charactersMax int) bool {
		return utf8.ValidString(text) && !strings.Contains(text, "\x00") &&
			utf8.RuneCountInString(text) <= charactersMax
	}
	noCard := !validate.HasCardNumber(text)
	free, name := acceptsIf(storable(500) && noCard),
		acceptsIf(storable(40) && text != "" && noCard)
	account, reference := acceptsIf(storable(200) && noCard), acceptsIf(storable(128))
	q := quoted(text)
	pairs := `"metadata":{"a":` + q + `}`
	post := func(text string) call {
		return call{method: "POST", path: "/payments", body: text}
	}
	edit := func(body string) call {
		anyVersion := http.Header{"If-Match": {"*"}}
		return call{method: "PATCH", path: payment, header: anyVersion, body: body}
	}
	terms := `{"currency":"USD","overdraft_limit":null,"name":` + q + `,` + pairs + `}`
	refund := `{"amount":1,"reason":` + q + `}`
	all := []naughtyCall{
		{post(charging(`"description":` + q + `,` + pairs + `,`)), free, "description"},
		{post(charging(`"metadata":{` + q + `:"x"},`)), name, "metadata"},
		{post(charging(`"reference":` + q + `,`)), reference, "reference"},
		{post(charging(q + `:1,`)), refuses, ""},
		{edit(`{"description":` + q + `,` + pairs + `}`), free, "description"},
		{edit(`{` + q + `:"x"}`), refuses, ""},
		{call{method: "POST", path: payment + "/refunds", body: refund}, free, "reason"},
		{call{method: "PUT", path: "/accounts/world", body: terms}, account, "name"},
	}
	for _, member := range []string{"alice", "shop", "USD"} {
		if !slices.Contains([]string{"world", "alice", "shop", "USD"}, text) {
			body := strings.Replace(charging(""), `"`+member+`"`, q, 1)
			all = append(all, naughtyCall{post(body), refuses, ""})
		}
	}
	return all
}

// quoted is the text as a JSON string of exactly these bytes, also where they are not
// UTF-8.
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

func pathsAndQueriesWith(text string) (all []naughtyCall) {
	id, value := url.PathEscape(text), url.QueryEscape(text)
	if !slices.Contains([]string{"", ".", "..", "world", "alice", "shop"}, text) {
		isID := ledger.ValidAccountID(text) && !strings.HasPrefix(text, "processor:")
		put := call{method: "PUT", path: "/accounts/" + id, body: `{"currency":"USD"}`}
		all = []naughtyCall{
			{call{path: "/payments/" + id}, refuses, ""},
			{call{path: "/accounts/" + id}, refuses, ""},
			{call{path: "/accounts/" + id + "/entries"}, refuses, ""},
			{call{method: "DELETE", path: "/accounts/" + id}, refuses, ""},
			{put, acceptsIf(isID), ""},
		}
	}
	for _, query := range []string{
		"/payments?cursor=", "/payments?limit=", "/payments?status=", "/payments?reference=",
		"/payments?account=", "/payments?created_after=", "/payments?idempotency_key=",
		"/payments?" + value + "=", "/accounts/alice?at=",
	} {
		all = append(all, naughtyCall{call{path: query + value}, either, ""})
	}
	return all
}

// fieldsWith has the text in header fields, also in fields that mean nothing to the
// service.
func fieldsWith(text string) []naughtyCall {
	charge := call{method: "POST", path: "/payments", body: charging("")}
	unreadable := call{method: "POST", path: "/payments", body: "{}"}
	asString := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
	put := call{method: "PUT", path: "/accounts/alice", body: `{"currency":"USD"}`}
	matches := slices.Contains([]string{`"1"`, "*"}, strings.TrimSpace(text))
	get := call{path: "/accounts/alice"}
	ignored := http.Header{}
	for _, name := range []string{
		"Prefer", "Accept", "Accept-Encoding", "Accept-Language", "User-Agent", "Cookie",
		"Traceparent", "If-None-Match", "Range", "X-Forwarded-For", "Origin", "Referer",
		"Request-Id",
	} {
		ignored.Set(name, text)
	}
	return []naughtyCall{
		{charge.with(http.Header{"Idempotency-Key": {text}}), either, ""},
		{charge.with(http.Header{"Idempotency-Key": {asString}}), either, ""},
		{unreadable.with(http.Header{"Content-Type": {text}}), refuses, ""},
		{get.with(http.Header{"Authorization": {text}}), refuses, ""},
		{get.with(http.Header{"Authorization": {"Bearer " + text}}), refuses, ""},
		{put.with(http.Header{"If-Match": {text}}), acceptsIf(matches), ""},
		{get.with(ignored), accepts, ""},
	}
}
