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
		{"outer spaces of a string", []string{` "abc" `}, "abc", nil},
		{"inner spaces stay", []string{"a b"}, "a b", nil},
		{"spaces inside a string stay", []string{`" a "`}, " a ", nil},
		{"a quote inside a bare key", []string{`a"b`}, `a"b`, nil},
		{"the longest", []string{strings.Repeat("k", 255)}, strings.Repeat("k", 255), nil},
		{
			"the longest, counted after unquoting",
			[]string{`"` + strings.Repeat(`\\`, 255) + `"`},
			strings.Repeat(`\`, 255), nil,
		},

		{"missing", nil, "", idempotency.ErrKeyMissing},
		{"two headers", []string{"a", "a"}, "", idempotency.ErrKeyInvalid},
		{"empty", []string{""}, "", idempotency.ErrKeyInvalid},
		{"only spaces", []string{"  "}, "", idempotency.ErrKeyInvalid},
		{"empty string", []string{`""`}, "", idempotency.ErrKeyInvalid},
		{"too long", []string{strings.Repeat("k", 256)}, "", idempotency.ErrKeyInvalid},
		{"control character", []string{"a\x01b"}, "", idempotency.ErrKeyInvalid},
		{"tab inside", []string{"a\tb"}, "", idempotency.ErrKeyInvalid},
		{"DEL", []string{"a\x7fb"}, "", idempotency.ErrKeyInvalid},
		{"not ASCII", []string{"schlüssel"}, "", idempotency.ErrKeyInvalid},
		{"not UTF-8", []string{"a\xff"}, "", idempotency.ErrKeyInvalid},
		{"unterminated", []string{`"abc`}, "", idempotency.ErrKeyInvalid},
		{"ends in a backslash", []string{`"abc\`}, "", idempotency.ErrKeyInvalid},
		{"escaped end", []string{`"abc\"`}, "", idempotency.ErrKeyInvalid},
		{"unknown escape", []string{`"a\nb"`}, "", idempotency.ErrKeyInvalid},
		{"trailing junk", []string{`"abc"x`}, "", idempotency.ErrKeyInvalid},
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

func FuzzAKeyThatIsReadIsSafeToStore(f *testing.F) {
	for _, seed := range []string{"abc", `"abc"`, `"a\"b"`, ` "x" `, `"`, `\`, "a\x00", "ü"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		key, err := idempotency.ParseKey([]string{header})
		if err != nil {
			return
		}
		if key == "" || len(key) > idempotency.KeyLengthMax {
			t.Errorf("ParseKey(%q) has %d bytes", header, len(key))
		}
		for _, c := range []byte(key) {
			if c < 0x20 || c > 0x7e {
				t.Errorf("ParseKey(%q) = %q holds %#x", header, key, c)
			}
		}
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
		if again, err := idempotency.ParseKey([]string{quoted}); err != nil || again != key {
			t.Errorf("the quoted form of %q is read as %q, %v", key, again, err)
		}
	})
}
