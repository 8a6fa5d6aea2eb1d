package validate_test

import (
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/internal/validate"
)

// Numbers that networks and processors give out for tests.
func TestHasCardNumber(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"4222222222222":                         true, // 13 digits
		"378282246310005":                       true,
		"4111111111111111":                      true,
		"4000000000000000006":                   true, // 19 digits
		"call 5555555555554444, thanks":         true,
		`{"pan":"4111111111111111"}`:            true,
		"card_4111111111111111_":                true,
		"№4111111111111111":                     true,
		"4111 1111 1111 1111":                   true,
		"4111-1111 1111-1111":                   true,
		"3782 822463 10005":                     true,
		"12 4111 1111 1111 1111 12/27":          true, // groups before and behind it
		"1234567890123456 4111111111111111 123": true,
		"4111 1111 1111 1111 pay":               true,

		"4111111111111112":                       false, // wrong check digit
		"5555555555554454":                       false, // two digits swapped
		"411111111116":                           false, // 12 digits
		"41111111111111111117":                   false, // 20 digits
		"1234567890123452":                       false, // begins with 1, as times since 1970 do
		"9000000000000001":                       false,
		"0.4111111111111111":                     false, // a fraction
		"12,4111111111111111":                    false,
		"pay_019a4111111111111111d622d79eec28":   false,
		"4111111111111111cafe":                   false,
		"4111  1111  1111  1111":                 false, // two spaces
		"4111.1111.1111.1111":                    false,
		"4111\n1111\n1111\n1111":                 false,
		strings.Repeat("4111 ", 1000) + "4111 x": false,
	} {
		if validate.HasCardNumber(text) != want {
			t.Errorf("%q: a card number is found: %t, want %t", text, !want, want)
		}
	}
}
