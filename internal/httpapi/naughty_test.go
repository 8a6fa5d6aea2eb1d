package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/paymentsvc/paymentsvc/internal/validate"
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
	return append(texts, "\xff", "\xc0\x80", "\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\xffb")
}

// A text is accepted and comes back as it was sent, or it is refused and changes
// nothing.
func TestNaughtyTextComesBackUnchangedOrIsRefused(t *testing.T) {
	m := onOneInstance(t)
	texts, paid := naughtyTexts(t), 0
	for i, text := range texts {
		q := quoted(text)
		members := `"description":` + q + `,"metadata":{"a":` + q + `},`
		a := m.chargeOn(m.first, fmt.Sprint("naughty ", i), charging(members))
		if !utf8.ValidString(text) || strings.Contains(text, "\x00") ||
			validate.HasCardNumber(text) || utf8.RuneCountInString(text) > 500 {
			if a.status != http.StatusBadRequest && a.status != http.StatusUnprocessableEntity {
				a.fail("does not refuse %q", text)
			}
			continue
		}
		paid++
		if p := a.want(201).payment(); p.Description != text || p.Metadata["a"] != text {
			a.fail("has another text than %q", text)
		}
	}
	m.wantPayments(paid)
	if len(texts) < 500 || paid < len(texts)*9/10 {
		t.Errorf("of %d texts, %d are in payments: the test shows too little", len(texts), paid)
	}
	for _, text := range texts {
		for _, c := range placesOf(text) {
			if a := m.send(m.first, c); a.status == 0 || a.status >= 500 {
				a.fail("fails on %q", text)
			}
		}
	}
}

// quoted is the text as a JSON string of exactly these bytes, also where they are not
// UTF-8.
func quoted(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' {
			fmt.Fprintf(&b, `\u%04x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return `"` + b.String() + `"`
}

// placesOf returns requests that have the text in a query, a path, a key and a reference.
func placesOf(text string) []call {
	value := url.QueryEscape(text)
	all := []call{
		{path: "/payments?reference=" + value + "&idempotency_key=" + value},
		{method: "PUT", path: "/accounts/" + url.PathEscape(text), body: `{"currency":"USD"}`},
	}
	if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
		return all // net/http's client sends no such field
	}
	return append(all, call{
		method: "POST", path: "/payments", header: http.Header{"Idempotency-Key": {text}},
		body: charging(`"reference":` + quoted(text) + `,`),
	})
}
