package cardnumber_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"github.com/paymentsvc/paymentsvc/internal/cardnumber"
)

// Numbers that the networks and processors give out for tests; no such card exists.
var cards = map[string]string{
	"Visa":                 "4111111111111111",
	"Visa of 13 digits":    "4222222222222",
	"Visa of 19 digits":    "4000000000000000006",
	"Mastercard":           "5555555555554444",
	"Mastercard, 2-series": "2223003122003222",
	"American Express":     "378282246310005",
	"Discover":             "6011111111111117",
	"Diners Club":          "3056930009020004",
	"Diners Club of 14":    "36227206271667",
	"JCB":                  "3566002020360505",
	"UnionPay":             "6200000000000005",
	"UnionPay of 19":       "6205500000000000004",
	"Maestro":              "6759649826438453",
	"Mir":                  "2200000000000004",
}

func TestCardNumbersAreFoundHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	for network, card := range cards {
		for _, around := range []string{
			"%s", "card %s", "%s.", "card:%s, thanks", `{"pan":"%s"}`, "a\n%s\nb", "#%s#", "no.%s", "(%s)", "_%s_",
			"12 %s", "%s 12/27", "%s 123",
			"1234567890123456 %s", "called at 555 0100 with %s", "%s%%",
		} {
			if text := fmt.Sprintf(around, card); !cardnumber.In(text) {
				t.Errorf("%s: not found in %q", network, text)
			}
		}
		for _, separator := range []string{" ", "-", "\u00a0", "\u2011", "–"} {
			text := "card " + strings.Join(inGroups(card), separator) + " of " + network
			if !cardnumber.In(text) {
				t.Errorf("%s: not found in %q", network, text)
			}
		}
	}
}

// inGroups parts a number as it is printed on a card.
func inGroups(card string) (groups []string) {
	if len(card) == 14 || len(card) == 15 {
		return []string{card[:4], card[4:10], card[10:]}
	}
	for ; len(card) > 4; card = card[4:] {
		groups = append(groups, card[:4])
	}
	return append(groups, card)
}

func TestDigitsOfOtherScriptsAreDigits(t *testing.T) {
	t.Parallel()
	for _, zero := range []rune{'０', '٠', '०', '𝟎', '𝟘', '𝟬'} {
		text := strings.Map(func(c rune) rune { return zero + c - '0' }, cards["Visa"])
		if !cardnumber.In(text) {
			t.Errorf("not found in %q", text)
		}
	}
	for c := range unicode.MaxRune {
		firstOfTen := unicode.IsDigit(c) && !unicode.IsDigit(c-1)
		if firstOfTen && !cardnumber.In(strings.Map(func(d rune) rune { return c + d - '0' }, cards["Visa"])) {
			t.Errorf("not found in the digits from %U", c)
		}
	}
}

func TestWhatIsNoCardNumberPasses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ why, text string }{
		{"nothing", ""},
		{"the last digit is wrong", "4111111111111112"},
		{"two digits are the wrong way round", "5555555555554454"},
		{"an order number without an issuer", "1234567890123452"},
		{"an order number without an issuer", "9000000000000001"},
		{"zeros", "0000000000000000"},
		{"12 digits", "411111111116"},
		{"20 digits", "41111111111111111117"},
		{"a length that Visa does not have", "41111111111111"},
		{"a time in milliseconds", "1764094239003"},
		{"a time in microseconds", "1764094239000006"},
		{"a time in nanoseconds", "1764094239000000008"},
		{"a fraction", "0.4111111111111111"},
		{"a fraction with a comma", "12,4111111111111111"},
		{"part of a hexadecimal id", "deadbeef4111111111111111"},
		{"part of a hexadecimal id", "4111111111111111cafe"},
		{"an id of this service", "pay_019a4111111111111111d622d79eec28"},
		{"a UUID", "41111111-1111-1111-8111-111111111111"},
		{"a UUID", "550e8400-4111-1111-1111-111111111111"},
		{"a date and a time", "2026-11-25 18:10:39.4111111"},
		{"telephone numbers", "+1 411 111 1111 or 111 1111"},
		{"an IBAN", "DE89370400440532013000"},
		{"an IBAN in groups", "GB29 NWBK 6016 1331 9268 19"},
		{"other groups than a card's", "41 11 11 11 11 11 11 11"},
		{"other groups than a card's", "411111 1111111111"},
		{"two spaces between", "4111  1111  1111  1111"},
		{"a line end between", "4111\n1111\n1111\n1111"},
		{"points between", "4111.1111.1111.1111"},
		{"numbers in a table", "4111 1111 1111 1112"},
		{"masked", "411111******1111"},
	} {
		if cardnumber.In(test.text) {
			t.Errorf("%s: %q is called a card number", test.why, test.text)
		}
	}
}

// Luhn's formula sees every single digit that is wrong. A wrong digit among the first may make another network's number of
// it, but never one with the right check digit.
func TestACardNumberWithOneWrongDigitIsNone(t *testing.T) {
	t.Parallel()
	for network, card := range cards {
		for i := range card {
			for digit := byte('0'); digit <= '9'; digit++ {
				if changed := card[:i] + string(digit) + card[i+1:]; digit != card[i] && cardnumber.In(changed) {
					t.Errorf("%s: %s is called a card number", network, changed)
				}
			}
		}
	}
}

// Whatever stands around it.
func TestACardNumberIsFoundInAnyText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.StringMatching(`([a-z]{1,8}|[0-9]{1,12}|[!?:;#/]){0,6}`)
		card := rapid.SampledFrom([]string{"4111111111111111", "5555555555554444", "378282246310005", "6011111111111117"}).Draw(t, "card")
		text := words.Draw(t, "before") + "\n" + card + "\n" + words.Draw(t, "after")
		if !cardnumber.In(text) {
			t.Errorf("not found in %q", text)
		}
	})
}

// A text may be long, and made of digits: this must not take a caller's time to the square of its length.
func BenchmarkIn(b *testing.B) {
	for name, text := range map[string]string{
		"short":  "Order 1017, two tickets",
		"digits": strings.Repeat("4111 ", 100),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				cardnumber.In(text)
			}
		})
	}
}
