package conformance

import (
	"net/http"
	"strings"
	"testing"
)

func noKey(_ *testing.T, c *caller) {
	c.send(c.first, request{method: "POST", path: "/payments", body: c.order(100).String()}).
		wantProblem(400, "idempotency_key_missing")
	c.wantMoved(0)
}

func unreadableKey(t *testing.T, c *caller) {
	for _, bad := range []struct {
		name string
		keys []string
	}{
		{"empty", []string{""}},
		{"only spaces", []string{"    "}},
		{"an empty string", []string{`""`}},
		{"256 characters", []string{strings.Repeat("k", 256)}},
		{"256 characters in quotes", []string{`"` + strings.Repeat("k", 256) + `"`}},
		{"256 characters, each with its escape", []string{`"` + strings.Repeat(`\"`, 256) + `"`}},
		{"a tab within", []string{"a\tb"}},
		{"not ASCII", []string{"schlüssel"}},
		{"not UTF-8", []string{"a\xffb"}},
		{"no closing quote", []string{`"abc`}},
		{"no closing quote but an escaped one", []string{`"abc\"`}},
		{"an escape that RFC 9651 does not have", []string{`"a\nb"`}},
		{"something behind the closing quote", []string{`"abc"d`}},
		{"a parameter", []string{`"abc";v=1`}},
		{"two headers", []string{"a", "b"}},
		{"two equal headers", []string{"a", "a"}},
	} {
		t.Run(bad.name, func(t *testing.T) {
			c := c.in(t)
			c.charge(c.first, c.order(100), bad.keys...).wantProblem(400,
				"idempotency_key_invalid")
		})
	}
	// These make a malformed message (RFC 9110, section 5.5), which an HTTP library may
	// refuse in its own words.
	for _, control := range []string{"\x00", "\x01", "\x1b", "\x7f"} {
		if status := c.exchange(c.raw(c.order(100),
			"a"+control+"b")); status != http.StatusBadRequest {
			t.Errorf("a key with the character %q: %d, want 400", control, status)
		}
	}
	c.wantMoved(0)
}

func spelledKey(t *testing.T, c *caller) {
	for _, pair := range []struct {
		name         string
		first, again string
		same         bool
	}{
		{"bare, then quoted", `abc`, `"abc"`, true},
		{"quoted, then bare", `"abc"`, `abc`, true},
		{"an escaped quote", `a"b`, `"a\"b"`, true},
		{"an escaped backslash", `a\b`, `"a\\b"`, true},
		{"a backslash before a quote", `a\"b`, `"a\\\"b"`, true},
		{"spaces around it", `abc`, " \t abc \t", true},
		{"spaces around its quotes", `abc`, `   "abc"  `, true},
		{"a space within", `a b`, `"a b"`, true},
		{
			"every visible character", `!#$%&'()*+,-./:;<=>?@[]^_{|}~`,
			`"!#$%&'()*+,-./:;<=>?@[]^_{|}~"`, true,
		},
		{"another case", `abc`, `ABC`, false},
		{"a space that the quotes hold", `abc`, `"abc "`, false},
		{"two spaces within", `a b`, `a  b`, false},
		{"quotes within quotes", `abc`, `"\"abc\""`, false},
		{"percent-encoding", `a b`, `a%20b`, false},
		{"leading zeros", `1`, `01`, false},
	} {
		t.Run(pair.name, func(t *testing.T) {
			c := c.another(t)
			first := c.charge(c.first, c.order(100), c.spell(pair.first)).want(201)
			again := c.readRaw(c.rawTo(c.other, c.order(100), c.spell(pair.again)))
			if pair.same {
				again.wantReplayOf(first)
				c.wantMoved(100)
			} else {
				again.want(201).wantFresh()
				c.wantMoved(200)
			}
		})
	}
	longest := strings.Repeat(`\`, 255-len(c.id))
	first := c.charge(c.first, c.order(100), longest+c.id).want(201)
	c.charge(c.other, c.order(100),
		`"`+strings.Repeat(`\\`, 255-len(c.id))+c.id+`"`).wantReplayOf(first)
	c.wantMoved(100)
}
