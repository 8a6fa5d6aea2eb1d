package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// Rows 1 and 2 of the contract; SECURITY 18.
func TestAKeyThatCannotBeReadIsRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := newInstance(t, db.URL)
	m := newMerchant(t, db, in, in)
	for _, test := range []struct {
		name  string
		lines []string
		code  string
	}{
		{"no key", nil, "idempotency_key_missing"},
		{"an empty one", []string{"Idempotency-Key:"}, "idempotency_key_invalid"},
		{"only spaces", []string{"Idempotency-Key:    "}, "idempotency_key_invalid"},
		{"an empty string", []string{`Idempotency-Key: ""`}, "idempotency_key_invalid"},
		{"256 characters", []string{"Idempotency-Key: " + strings.Repeat("k", 256)}, "idempotency_key_invalid"},
		{"256 characters in quotes", []string{`Idempotency-Key: "` + strings.Repeat("k", 256) + `"`}, "idempotency_key_invalid"},
		{"256 escaped characters", []string{`Idempotency-Key: "` + strings.Repeat(`\"`, 256) + `"`}, "idempotency_key_invalid"},
		{"a tab within", []string{"Idempotency-Key: a\tb"}, "idempotency_key_invalid"},
		{"a character that is not ASCII", []string{"Idempotency-Key: schlüssel"}, "idempotency_key_invalid"},
		{"a byte that is not UTF-8", []string{"Idempotency-Key: a\xffb"}, "idempotency_key_invalid"},
		{"no closing quote", []string{`Idempotency-Key: "abc`}, "idempotency_key_invalid"},
		{"a closing quote that is escaped", []string{`Idempotency-Key: "abc\"`}, "idempotency_key_invalid"},
		{"an escape that RFC 9651 does not have", []string{`Idempotency-Key: "a\nb"`}, "idempotency_key_invalid"},
		{"something after the closing quote", []string{`Idempotency-Key: "abc"d`}, "idempotency_key_invalid"},
		{"parameters", []string{`Idempotency-Key: "abc";v=1`}, "idempotency_key_invalid"},
		{"two headers", []string{"Idempotency-Key: a", "Idempotency-Key: b"}, "idempotency_key_invalid"},
		{"two equal headers", []string{"Idempotency-Key: a", "idempotency-key: a"}, "idempotency_key_invalid"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := m.in(t)
			res := m.chargeAsWritten(in, aliceToShop(1), test.lines...)
			m.readCharge(res).wantProblem(http.StatusBadRequest, test.code)
		})
	}
	m.wantPayments(0)
}

// A control character in a header makes a malformed message (RFC 9110, section 5.5). net/http refuses it before the
// service sees it, with a 400 of its own.
func TestAControlCharacterInAKeyNeverReachesTheService(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := newInstance(t, db.URL)
	m := newMerchant(t, db, in, in)
	for _, character := range []string{"\x00", "\x01", "\x1b", "\x7f", "\n", "\r"} {
		res := m.chargeAsWritten(in, aliceToShop(1), "Idempotency-Key: a"+character+"b")
		if res.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: %s", character, res.Status)
		}
		res.Body.Close()
	}
	m.wantPayments(0)
}

// Row 3.
func TestHowAKeyIsWrittenDoesNotMatter(t *testing.T) {
	rows := []struct {
		name         string
		first, again string
		same         bool
	}{
		{"bare, then quoted", `abc`, `"abc"`, true},
		{"quoted, then bare", `"abc"`, `abc`, true},
		{"an escaped quote", `a"b`, `"a\"b"`, true},
		{"an escaped backslash", `a\b`, `"a\\b"`, true},
		{"spaces around it", `abc`, "  \t abc \t", true},
		{"spaces around its quotes", `abc`, `   "abc"  `, true},
		{"a space within", `a b`, `"a b"`, true},
		{"every visible character", `!#$%&'()*+,-./:;<=>?@[]^_{|}~`, `"!#$%&'()*+,-./:;<=>?@[]^_{|}~"`, true},
		{"255 characters that have to be escaped", strings.Repeat(`\`, 255), `"` + strings.Repeat(`\\`, 255) + `"`, true},
		{"another case", `abc`, `ABC`, false},
		{"a space that the quotes hold", `abc`, `" abc"`, false},
		{"two spaces within", `a b`, `a  b`, false},
		{"quotes within quotes", `abc`, `"\"abc\""`, false},
		{"percent-encoding", `a b`, `a%20b`, false},
		{"numbers", `1`, `01`, false},
	}
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				m := m.another(t)
				first := m.charge(row.first, aliceToShop(100)).want(http.StatusCreated)
				again := m.readCharge(m.chargeAsWritten(m.other, aliceToShop(100), "Idempotency-Key: "+row.again), row.again)
				if row.same {
					again.wantReplayOf(first)
					m.wantPayments(1)
				} else {
					again.want(http.StatusCreated).wantFresh()
					m.wantPayments(2)
				}
			})
		}
	})
}
