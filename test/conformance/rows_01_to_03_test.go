package conformance

import (
	"net/http"
	"strings"
)

func noKey(c *caller) {
	c.send(c.first, request{method: "POST", path: "/payments", body: c.order(100).String()}).
		wantProblem(400, "idempotency_key_missing")
	c.wantMoved(0)
}

func unreadableKey(c *caller) {
	for name, keys := range map[string][]string{
		"empty":                                 {""},
		"only spaces":                           {"    "},
		"an empty string":                       {`""`},
		"256 characters":                        {strings.Repeat("k", 256)},
		"256 characters in quotes":              {`"` + strings.Repeat("k", 256) + `"`},
		"256 characters, each with its escape":  {`"` + strings.Repeat(`\"`, 256) + `"`},
		"a tab within":                          {"a\tb"},
		"not ASCII":                             {"schlüssel"},
		"not UTF-8":                             {"a\xffb"},
		"no closing quote":                      {`"abc`},
		"no closing quote but an escaped one":   {`"abc\"`},
		"an escape that RFC 9651 does not have": {`"a\nb"`},
		"something behind the closing quote":    {`"abc"d`},
		"a parameter":                           {`"abc";v=1`},
		"two headers":                           {"a", "b"},
		"two headers that a proxy has joined":   {"a, a"},
		"two equal headers":                     {"a", "a"},
	} {
		c.run(name, func(c *caller) {
			c.charge(c.first, c.order(100), keys...).wantProblem(400, "idempotency_key_invalid")
		})
	}
	// These make a malformed message (RFC 9110, section 5.5), which an HTTP library may
	// refuse in its own words.
	for _, control := range []string{"\x00", "\x01", "\x1b", "\x7f"} {
		conn := c.raw(c.first, c.order(100), "a"+control+"b")
		if res := c.readHead(conn); res.StatusCode != http.StatusBadRequest {
			c.t.Errorf("a key with the character %q: %s, want 400", control, res.Status)
		}
		conn.Close()
	}
	c.wantMoved(0)
}

func spelledKey(c *caller) {
	const visible = `!#$%&'()*+-./:;<=>?@[]^_{|}~`
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
		{"every visible character", visible, `"` + visible + `"`, true},
		{"another case", `abc`, `ABC`, false},
		{"a space that the quotes hold", `abc`, `"abc "`, false},
		{"two spaces within", `a b`, `a  b`, false},
		{"a comma within quotes", `"a"`, `"a, a"`, false},
		{"quotes within quotes", `abc`, `"\"abc\""`, false},
		{"percent-encoding", `a b`, `a%20b`, false},
		{"leading zeros", `1`, `01`, false},
	} {
		c.runAnew(pair.name, func(c *caller) {
			first := c.charge(c.first, c.order(100), c.spell(pair.first)).want(201)
			again := c.readRaw(c.raw(c.other, c.order(100), c.spell(pair.again)))
			if pair.same {
				again.wantReplayOf(first)
				c.wantMoved(100)
			} else {
				again.want(201).wantFresh()
				c.wantMoved(200)
			}
		})
	}
	n := 255 - len(c.id)
	bare, quoted := strings.Repeat(`\`, n)+c.id, `"`+strings.Repeat(`\\`, n)+c.id+`"`
	first := c.charge(c.first, c.order(100), bare).want(201)
	c.charge(c.other, c.order(100), quoted).wantReplayOf(first)
	c.wantMoved(100)
}
