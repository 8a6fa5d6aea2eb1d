package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// What RFC 8259 says of a JSON text, in the manner of "Parsing JSON is a Minefield" (Seriot, 2016), whose three kinds these are.
const (
	valid   = "y" // every parser must take it
	wrong   = "n" // every parser must refuse it
	allowed = "i" // a parser may do either: this one refuses it, because two that differ would read two things
)

// jsonText is a JSON text, or what is nearly one.
type jsonText struct {
	kind string
	name string
	text string
	says string // what it says, if it is a valid string
}

var jsonTexts = []jsonText{
	// Strings.
	{valid, "an empty string", `""`, ""},
	{valid, "a letter", `"a"`, "a"},
	{valid, "every short escape", `"\"\\\/\b\f\n\r\t"`, "\"\\/\b\f\n\r\t"},
	{valid, "an escaped letter", `"\u0061"`, "a"},
	{valid, "escapes in upper and lower case", `"\u00E9\u00e9"`, "éé"},
	{valid, "an escaped control character", `"\u0001"`, "\x01"},
	{valid, "an escaped DEL", `"\u007f"`, "\x7f"},
	{valid, "a raw DEL", "\"\x7f\"", "\x7f"},
	{valid, "a pair of surrogates", `"\ud83d\ude00"`, "😀"},
	{valid, "a pair of surrogates in upper case", `"\uD83D\uDE00"`, "😀"},
	{valid, "the last character", `"\udbff\udfff"`, "\U0010ffff"},
	{valid, "a noncharacter", `"\uffff"`, "\uffff"},
	{valid, "a noncharacter beyond", `"\ud83f\udffe"`, "\U0001fffe"},
	{valid, "a private character", `"\ue000"`, "\ue000"},
	{valid, "a line separator", "\"\u2028\"", "\u2028"},
	{valid, "an escaped byte order mark", `"\ufeff"`, "\ufeff"},
	{valid, "two backslashes before a u", `"\\u0000"`, `\u0000`},
	{valid, "UTF-8 of two, three and four bytes", `"é€😀"`, "é€😀"},
	{valid, "a replacement character", `"�"`, "�"},
	{valid, "a comment within", `"/* // */"`, "/* // */"},
	{valid, "white space around it", " \t\r\n\"a\" \t\r\n", "a"},
	{wrong, "no closing quote", `"a`, ""},
	{wrong, "no opening quote", `a"`, ""},
	{wrong, "no quotes", `a`, ""},
	{wrong, "single quotes", `'a'`, ""},
	{wrong, "backquotes", "`a`", ""},
	{wrong, "typographic quotes", "“a”", ""},
	{wrong, "an escaped closing quote", `"a\"`, ""},
	{wrong, "a backslash at the end", `"\`, ""},
	{wrong, "an unknown escape", `"\a"`, ""},
	{wrong, "an octal escape", `"\0"`, ""},
	{wrong, "a hexadecimal escape", `"\x41"`, ""},
	{wrong, "an escape in upper case", `"\U0041"`, ""},
	{wrong, "an escaped single quote", `"\'"`, ""},
	{wrong, "an escaped line end", "\"\\\n\"", ""},
	{wrong, "an escaped emoji", `"\😀"`, ""},
	{wrong, "an escape cut short", `"\u00A"`, ""},
	{wrong, "an escape of no digits", `"\u"`, ""},
	{wrong, "an escape of other letters", `"\u00zz"`, ""},
	{wrong, "an escape with a space", `"\u 061"`, ""},
	{wrong, "an escape in braces", `"\u{61}"`, ""},
	{wrong, "half a pair with a short escape", `"\ud83d\u"`, ""},
	{wrong, "a raw tab", "\"a\tb\"", ""},
	{wrong, "a raw line end", "\"a\nb\"", ""},
	{wrong, "a raw NUL", "\"a\x00b\"", ""},
	{wrong, "a raw escape character", "\"\x1b\"", ""},
	{wrong, "two strings", `"a" "b"`, ""},
	{wrong, "two strings beside each other", `"a""b"`, ""},
	{wrong, "two strings and a plus", `"a"+"b"`, ""},
	{wrong, "a Latin-1 letter", "\"\xe9\"", ""},
	{allowed, "a high surrogate alone", `"\ud83d"`, ""},
	{allowed, "a low surrogate alone", `"\ude00"`, ""},
	{allowed, "two high surrogates", `"\ud83d\ud83d"`, ""},
	{allowed, "surrogates the wrong way round", `"\ude00\ud83d"`, ""},
	{allowed, "a high surrogate and a letter", `"\ud83da"`, ""},
	{allowed, "a high surrogate and an escaped letter", `"\ud83d\u0061"`, ""},
	{allowed, "UTF-8 that is too long", "\"\xc0\xaf\"", ""},
	{allowed, "UTF-8 cut short", "\"\xe0\xff\"", ""},
	{allowed, "a surrogate in UTF-8", "\"\xed\xa0\x80\"", ""},
	{allowed, "UTF-8 beyond Unicode", "\"\xf4\xbf\xbf\xbf\"", ""},
	{allowed, "a continuation byte", "\"\x81\"", ""},
	{allowed, "UTF-16", "\xff\xfe\"\x00a\x00\"\x00", ""},
	{allowed, "UTF-16 without a mark", "\x00\"\x00a\x00\"", ""},
	{allowed, "a byte order mark before it", "\ufeff\"a\"", ""},
	{allowed, "U+0000", `"\u0000"`, ""}, // RFC 8259 allows it; Postgres does not store it
	// Numbers, none of which is a string.
	{valid, "zero", `0`, ""},
	{valid, "minus zero", `-0`, ""},
	{valid, "an integer", `123`, ""},
	{valid, "a fraction", `-1.5e-3`, ""},
	{valid, "an exponent in upper case", `1E+2`, ""},
	{wrong, "a plus", `+1`, ""},
	{wrong, "a leading zero", `012`, ""},
	{wrong, "a leading zero after a minus", `-012`, ""},
	{wrong, "no digit before the point", `.5`, ""},
	{wrong, "no digit after the point", `1.`, ""},
	{wrong, "no digit after the exponent", `1e`, ""},
	{wrong, "a sign after the exponent", `1e+`, ""},
	{wrong, "two points", `1.2.3`, ""},
	{wrong, "two signs", `--1`, ""},
	{wrong, "a sign alone", `-`, ""},
	{wrong, "a space after the sign", `- 1`, ""},
	{wrong, "hexadecimal", `0x10`, ""},
	{wrong, "an underscore", `1_000`, ""},
	{wrong, "a comma", `1,000`, ""},
	{wrong, "a letter behind it", `1a`, ""},
	{wrong, "a number of another script", `１`, ""},
	{wrong, "not a number", `NaN`, ""},
	{wrong, "infinity", `Infinity`, ""},
	{wrong, "minus infinity", `-Infinity`, ""},
	{allowed, "more than a double holds", `1e400`, ""},
	{allowed, "less than a double holds", `1e-400`, ""},
	{allowed, "a very long number", strings.Repeat("9", 5_000), ""},
	{allowed, "a very large exponent", `1e` + strings.Repeat("9", 1_000), ""},
	// Literals.
	{valid, "true", `true`, ""},
	{valid, "false", `false`, ""},
	{wrong, "True", `True`, ""},
	{wrong, "TRUE", `TRUE`, ""},
	{wrong, "tru", `tru`, ""},
	{wrong, "truth", `truth`, ""},
	{wrong, "nul", `nul`, ""},
	{wrong, "None", `None`, ""},
	{wrong, "undefined", `undefined`, ""},
	// Arrays.
	{valid, "an empty array", `[]`, ""},
	{valid, "an array of everything", `[1,"a",null,true,[],{}]`, ""},
	{wrong, "no closing bracket", `[1`, ""},
	{wrong, "no opening bracket", `1]`, ""},
	{wrong, "the wrong closing bracket", `[1}`, ""},
	{wrong, "a comma at the end", `[1,]`, ""},
	{wrong, "a comma at the beginning", `[,1]`, ""},
	{wrong, "two commas", `[1,,2]`, ""},
	{wrong, "no comma", `[1 2]`, ""},
	{wrong, "a colon", `[1:2]`, ""},
	{wrong, "a semicolon", `[1;2]`, ""},
	{wrong, "a name", `["a":1]`, ""},
	{wrong, "one bracket too many", `[]]`, ""},
	{wrong, "an array without an end", strings.Repeat("[", 5_000), ""},
	{allowed, "nested deeper than anybody writes", strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000), ""},
	// Objects.
	{valid, "an empty object", `{}`, ""},
	{valid, "an empty name", `{"":0}`, ""},
	{valid, "an escaped name", `{"\u0061":1}`, ""},
	{valid, "an object of objects", `{"a":{"b":{"c":[]}}}`, ""},
	{wrong, "no closing brace", `{"a":1`, ""},
	{wrong, "a name alone", `{"a"}`, ""},
	{wrong, "no value", `{"a":}`, ""},
	{wrong, "no name", `{:1}`, ""},
	{wrong, "a name without quotes", `{a:1}`, ""},
	{wrong, "a name in single quotes", `{'a':1}`, ""},
	{wrong, "a number for a name", `{1:1}`, ""},
	{wrong, "null for a name", `{null:1}`, ""},
	{wrong, "a comma at the end of an object", `{"a":1,}`, ""},
	{wrong, "a comma at its beginning", `{,"a":1}`, ""},
	{wrong, "two commas in an object", `{"a":1,,"b":2}`, ""},
	{wrong, "two colons", `{"a"::1}`, ""},
	{wrong, "an equals sign", `{"a"=1}`, ""},
	{wrong, "a comma for a colon", `{"a",1}`, ""},
	{wrong, "two values", `{"a":1 2}`, ""},
	{wrong, "something behind it", `{"a":1}#`, ""},
	{wrong, "one brace too many", `{"a":1}}`, ""},
	{wrong, "an object without an end", strings.Repeat(`{"a":`, 1_000), ""},
	{allowed, "a name twice", `{"a":1,"a":1}`, ""},
	{allowed, "a name twice, once escaped", `{"a":1,"\u0061":2}`, ""},
	// White space and comments.
	{wrong, "nothing", ``, ""},
	{wrong, "a space", ` `, ""},
	{wrong, "a form feed", "\f1", ""},
	{wrong, "a vertical tab", "\v1", ""},
	{wrong, "a no-break space", "\u00a01", ""},
	{wrong, "a zero-width space", "\u200b1", ""},
	{wrong, "a NUL behind it", "1\x00", ""},
	{wrong, "a comment", `/**/1`, ""},
	{wrong, "a comment to the end of the line", "1//\n", ""},
	{wrong, "a comment of a shell", "#\n1", ""},
	{wrong, "a prefix against hijacking", ")]}'\n1", ""},
	{wrong, "a text that is no JSON at all", `<xml/>`, ""},
	{wrong, "a star", `*`, ""},
	{wrong, "two literals", `truefalse`, ""},
}

// Each text is sent in the place of a string, in the place of a member of metadata, and as the whole body, to both of the routes
// that read one. What is not JSON is malformed wherever it stands; what is JSON and no string is malformed as well; and a string
// says what it says.
func TestJSONIsReadAsTheStandardSays(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := newInstance(t, db.URL)
	m := newMerchant(t, db, in, in)
	paid, opened := 0, 0
	for i, row := range jsonTexts {
		t.Run(fmt.Sprintf("%s %s", row.kind, row.name), func(t *testing.T) {
			m := m.in(t)
			isString := row.kind == valid && strings.HasPrefix(strings.TrimSpace(row.text), `"`)
			for place, withText := range map[string]string{
				"description": `"description":` + row.text, "metadata": `"metadata":{"a":` + row.text + `}`,
			} {
				a := m.chargeOn(in, fmt.Sprint(place, i), charging(withText+","))
				if !isString {
					a.wantProblem(http.StatusBadRequest, malformed)
					continue
				}
				paid++
				var got struct {
					Description string
					Metadata    map[string]string
				}
				if a.want(http.StatusCreated).decode(&got); got.Description+got.Metadata["a"] != row.says {
					a.fail("does not say %q", row.says)
				}
			}
			terms := m.put(fmt.Sprint("account", i), `{"currency":"USD","name":`+row.text+`}`)
			if isString {
				opened++
				if got := terms.want(http.StatusCreated).account(); got.Name != row.says {
					terms.fail("does not say %q", row.says)
				}
			} else {
				terms.wantProblem(http.StatusBadRequest, malformed)
			}
			if row.text == "" {
				return // a request without a body has no type either
			}
			m.chargeOn(in, fmt.Sprint("whole", i), row.text).wantProblem(http.StatusBadRequest, malformed)
			m.put("whole", row.text).wantProblem(http.StatusBadRequest, malformed)
		})
	}
	m.wantPayments(paid)
	m.wantCount(3+opened, `SELECT count(*) FROM accounts WHERE merchant_id = $1`, m.id)
	m.wantCount(paid+2, `SELECT count(*) FROM idempotency_keys WHERE merchant_id = $1`, m.id) // and the two that funded alice
}
