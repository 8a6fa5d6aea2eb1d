// Package cardnumber finds card numbers in text that should have none.
//
// The service works with processors' tokens and never with a card's number. A number that a caller has put into a
// description all the same must be refused before it is stored, sent on or logged, because everything that it touches would
// have to be protected as cardholder data (PCI DSS, requirement 3).
//
// A card number is 13 to 19 digits, begins as an issuer's do with that length, ends in the check digit of Luhn's formula
// (ISO/IEC 7812-1, annex B), and stands by itself. Each of the conditions is there for what would be refused wrongly without it:
// an order number of 16 digits fails Luhn nine times in ten and mostly has no issuer; a time in milli-, micro- or
// nanoseconds begins with 1, as no network's numbers do; digits within a hexadecimal id have letters beside them; those of a
// fraction have a point before them.
package cardnumber

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	lengthMin = 13
	lengthMax = 19
)

// issuers are the first digits of the card networks' numbers, as ranges of prefixes of one length, and how long those
// numbers are. Source: https://en.wikipedia.org/wiki/Payment_card_number#Issuer_identification_number_(IIN), with the tests
// of this package as examples. Left out is UATP (1, 15 digits): clocks count in such numbers.
var issuers = []struct {
	network  string
	from, to string
	lengths  []int
}{
	{"Visa", "4", "4", []int{13, 16, 19}},
	{"Mastercard", "51", "55", []int{16}},
	{"Mastercard", "2221", "2720", []int{16}},
	{"American Express", "34", "34", []int{15}},
	{"American Express", "37", "37", []int{15}},
	{"Discover", "6011", "6011", []int{16, 17, 18, 19}},
	{"Discover", "644", "659", []int{16, 17, 18, 19}},
	{"Diners Club", "300", "305", []int{14, 15, 16, 17, 18, 19}},
	{"Diners Club", "3095", "3095", []int{14, 15, 16, 17, 18, 19}},
	{"Diners Club", "36", "36", []int{14, 15, 16, 17, 18, 19}},
	{"Diners Club", "38", "39", []int{14, 15, 16, 17, 18, 19}},
	{"JCB", "3528", "3589", []int{16, 17, 18, 19}},
	{"UnionPay", "62", "62", []int{16, 17, 18, 19}},
	{"UnionPay", "8100", "8171", []int{16, 17, 18, 19}},
	{"Maestro", "5018", "5018", []int{13, 14, 15, 16, 17, 18, 19}},
	{"Maestro", "5020", "5020", []int{13, 14, 15, 16, 17, 18, 19}},
	{"Maestro", "5038", "5038", []int{13, 14, 15, 16, 17, 18, 19}},
	{"Maestro", "5893", "5893", []int{13, 14, 15, 16, 17, 18, 19}},
	{"Maestro", "6304", "6304", []int{13, 14, 15, 16, 17, 18, 19}},
	{"Maestro", "6759", "6763", []int{13, 14, 15, 16, 17, 18, 19}},
	{"Dankort", "5019", "5019", []int{16}},
	{"Mir", "2200", "2204", []int{16, 17, 18, 19}},
	{"RuPay", "60", "60", []int{16}},
	{"RuPay", "82", "82", []int{16}},
	{"RuPay", "508", "508", []int{16}},
	{"Verve", "5060", "5061", []int{16, 18, 19}},
	{"Verve", "5078", "5079", []int{16, 18, 19}},
	{"Troy", "9792", "9792", []int{16}},
}

// digits are groups of digits, each two of them parted by one space or dash. Those of every script count: 4 and ４ are the
// same to who reads them.
var digits = regexp.MustCompile(`\p{Nd}+(?:[\p{Zs}\p{Pd}]\p{Nd}+)*`)

// In tells whether there is a card number in the text: written in one piece, or in groups as cards show it, with a space or
// a dash between each two.
func In(text string) bool {
	if !hasDigits(text, lengthMin) {
		return false // nearly every text, and this is asked of every charge
	}
	for _, at := range digits.FindAllStringIndex(text, -1) {
		groups := strings.FieldsFunc(decimal(text[at[0]:at[1]]), func(c rune) bool { return !unicode.IsDigit(c) })
		if continues(text[:at[0]]) {
			groups = groups[1:]
		}
		if next, _ := utf8.DecodeRuneInString(text[at[1]:]); len(groups) > 0 && unicode.IsLetter(next) {
			groups = groups[:len(groups)-1]
		}
		for i := range groups {
			if beginsWithCardNumber(groups[i:]) {
				return true
			}
		}
	}
	return false
}

// hasDigits tells whether there are n digits in the text, wherever they stand.
func hasDigits(text string, n int) bool {
	for _, c := range text {
		if unicode.IsDigit(c) {
			n--
		}
	}
	return n <= 0
}

// continues tells whether what comes after the text is the rest of a word or of a fraction, and no number by itself.
func continues(text string) bool {
	last, size := utf8.DecodeLastRuneInString(text)
	if last == '.' || last == ',' {
		before, _ := utf8.DecodeLastRuneInString(text[:len(text)-size])
		return unicode.IsDigit(before)
	}
	return unicode.IsLetter(last)
}

// beginsWithCardNumber tells whether the first group is a card number, or the first ones are.
func beginsWithCardNumber(groups []string) bool {
	if valid(groups[0]) {
		return true
	}
	var number, shape string
	for _, group := range groups {
		number += group
		shape += strconv.Itoa(len(group))
		if !slices.ContainsFunc(printed, func(whole string) bool { return strings.HasPrefix(whole, shape) }) {
			return false
		}
		if valid(number) {
			return true
		}
	}
	return false
}

// printed are the lengths of the groups in which cards show their digits: four by four, of which the last may be shorter, or
// 4-6-5 and 4-6-4 (American Express, Diners Club), or 6-13 (UnionPay). Other groups are no card's, but dates, telephone
// numbers, the parts of a UUID.
var printed = []string{"4441", "4442", "4443", "44441", "44442", "44443", "465", "464", "613"}

// valid tells whether the digits are a card number.
func valid(number string) bool {
	return len(number) >= lengthMin && len(number) <= lengthMax && luhn(number) && issued(number)
}

func issued(number string) bool {
	for _, issuer := range issuers {
		prefix := number[:len(issuer.from)]
		if issuer.from <= prefix && prefix <= issuer.to && slices.Contains(issuer.lengths, len(number)) {
			return true
		}
	}
	return false
}

// luhn tells whether the last digit is the check digit of the others: with every second one from the right doubled, and the
// digits of the doubled ones taken apart, all of them sum to a multiple of ten.
func luhn(number string) bool {
	sum := 0
	for i := range len(number) {
		digit := int(number[len(number)-1-i] - '0')
		if i%2 == 1 {
			digit *= 2
		}
		sum += digit/10 + digit%10
	}
	return sum%10 == 0
}

// decimal writes digits of any script in ASCII. Unicode has them in rows of ten, from 0 to 9.
func decimal(group string) string {
	return strings.Map(func(c rune) rune {
		if c <= '9' {
			return c
		}
		for _, row := range unicode.Nd.R16 {
			if first := rune(row.Lo); first <= c && c <= rune(row.Hi) {
				return '0' + (c-first)%10
			}
		}
		for _, row := range unicode.Nd.R32 {
			first, last := rune(row.Lo), rune(row.Hi) //nolint:gosec // characters, of 21 bits
			if first <= c && c <= last {
				return '0' + (c-first)%10
			}
		}
		return c
	}, group)
}
