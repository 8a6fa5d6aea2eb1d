package idempotency_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
)

func TestAKeyIsReadAsTheDraftSays(t *testing.T) {
	for _, test := range []struct {
		name   string
		header []string
		want   string
		err    error
	}{
		{"bare", []string{"abc"}, "abc", nil},
		{"a string of RFC 9651", []string{`"abc"`}, "abc", nil},
		{"escaped quote and backslash", []string{`"a\"b\\c"`}, `a"b\c`, nil},
		{"case matters", []string{"AbC"}, "AbC", nil},
		{"outer spaces are dropped", []string{"  abc\t"}, "abc", nil},
		{"inner spaces stay", []string{"a b"}, "a b", nil},
		{"spaces inside a string stay", []string{`" a "`}, " a ", nil},
		{"a comma inside a string", []string{`"a,b"`}, "a,b", nil},
		{"a quote inside a bare key", []string{`a"b`}, `a"b`, nil},
		{"the longest", []string{strings.Repeat("k", 255)}, strings.Repeat("k", 255), nil},
		{
			"the longest, counted after unquoting",
			[]string{`"` + strings.Repeat(`\\`, 255) + `"`},
			strings.Repeat(`\`, 255), nil,
		},

		{"missing", nil, "", idempotency.ErrKeyMissing},
		{"two headers", []string{"a", "a"}, "", idempotency.ErrKeyInvalid},
		{"two headers, joined", []string{"a, a"}, "", idempotency.ErrKeyHasComma},
		{"two strings, joined", []string{`"a", "a"`}, "", idempotency.ErrKeyInvalid},
		{"a bare comma", []string{","}, "", idempotency.ErrKeyHasComma},
		{"empty", []string{""}, "", idempotency.ErrKeyInvalid},
		{"only spaces", []string{"  "}, "", idempotency.ErrKeyInvalid},
		{"empty string", []string{`""`}, "", idempotency.ErrKeyInvalid},
		{"too long", []string{strings.Repeat("k", 256)}, "", idempotency.ErrKeyInvalid},
		{"control character", []string{"a\x01b"}, "", idempotency.ErrKeyInvalid},
		{"DEL", []string{"a\x7fb"}, "", idempotency.ErrKeyInvalid},
		{"not ASCII", []string{"schlüssel"}, "", idempotency.ErrKeyInvalid},
		{"not UTF-8", []string{"a\xff"}, "", idempotency.ErrKeyInvalid},
		{"unterminated", []string{`"abc`}, "", idempotency.ErrKeyInvalid},
		{"ends in a backslash", []string{`"abc\`}, "", idempotency.ErrKeyInvalid},
		{"escaped end", []string{`"abc\"`}, "", idempotency.ErrKeyInvalid},
		{"unknown escape", []string{`"a\nb"`}, "", idempotency.ErrKeyInvalid},
		{"parameters", []string{`"abc";v=1`}, "", idempotency.ErrKeyInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := idempotency.ParseKey(test.header)
			if got != test.want || !errors.Is(err, test.err) {
				t.Errorf("ParseKey(%q) = %q, %v; want %q, %v",
					test.header, got, err, test.want, test.err)
			}
		})
	}
}
