package validate

import (
	"regexp"
	"strings"
)

const cardNumberLengthMax = 19

var (
	digitGroups = regexp.MustCompile(`[0-9]+(?:[ -][0-9]+)*`)
	shape       = regexp.MustCompile(`^[2-6][0-9]{12,18}$`)
	before      = regexp.MustCompile(`([A-Za-z]|[0-9][.,])$`)
	behind      = regexp.MustCompile(`^[A-Za-z]`)
)

// HasCardNumber tells whether there is a card number in the text. The service works
// with processors' tokens and never stores a card number: everything that it touches
// would have to be protected as cardholder data (PCI DSS, requirement 3).
//
// A card number has 13 to 19 digits, begins with 2 to 6, and ends in its Luhn check
// digit (ISO/IEC 7812-1). It is written in one piece, or in groups with one space or
// hyphen between. Digits beside a letter are part of an id, and digits behind a decimal
// point are a fraction.
func HasCardNumber(text string) bool {
	for _, at := range digitGroups.FindAllStringIndex(text, -1) {
		groups := strings.FieldsFunc(text[at[0]:at[1]], func(c rune) bool { return c < '0' })
		if before.MatchString(text[max(0, at[0]-2):at[0]]) {
			groups = groups[1:]
		}
		if len(groups) > 0 && behind.MatchString(text[at[1]:]) {
			groups = groups[:len(groups)-1]
		}
		for i := range groups {
			for j := i + 1; j <= len(groups); j++ {
				number := strings.Join(groups[i:j], "")
				if len(number) > cardNumberLengthMax {
					break
				}
				if shape.MatchString(number) && luhn(number) {
					return true
				}
			}
		}
	}
	return false
}

// luhn adds up the digits, every second from the right doubled, to a multiple of 10.
func luhn(number string) bool {
	sum := 0
	for i := range len(number) {
		digit := int(number[len(number)-1-i]-'0') << (i % 2)
		sum += digit/10 + digit%10
	}
	return sum%10 == 0
}
