package stripe

import (
	"errors"
	"fmt"
	"strings"

	"github.com/stripe/stripe-go/v84"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
)

// Stripe's amounts, from its page "Supported currencies"
// (https://docs.stripe.com/currencies, sections "Minor units in API amounts", "Special
// cases" and "Minimum and maximum charge amounts"). Currencies have two decimals unless
// they are listed here.
//
// UGX is among the zero-decimal currencies of the page and among its special cases. The
// special case decides: UGX 5 is an amount of 500. HUF and TWD are special cases of payouts
// only.
var (
	zeroDecimal = codes("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF")

	// threeDecimal amounts end in 0. The page had this list until 2022, and the currencies
	// can still be charged.
	threeDecimal = codes("BHD JOD KWD OMR TND")

	// differs are the currencies whose decimals are not those of ISO 4217, by which the
	// ledger counts. ISK and UGX have two at Stripe, always 00. MGA has none.
	differs = codes("ISK UGX MGA")

	// digitsMax is how many digits an amount may have, where it is more than eight. Stripe
	// has raised these limits for most cards, but not for all. A higher amount may be
	// refused for the card, after the payment has begun.
	digitsMax = map[ledger.Currency]int{
		"INR": 9, "COP": 10, "HUF": 10, "JPY": 10, "LBP": 11, "IDR": 12,
	}
)

func codes(text string) map[ledger.Currency]bool {
	set := map[ledger.Currency]bool{}
	for code := range strings.FieldsSeq(text) {
		set[ledger.Currency(code)] = true
	}
	return set
}

// CheckAmount tells why the processor cannot take an amount. Its text completes a sentence
// about the amount: "must be …". There is no check of the smallest amount, because that
// depends on the currency of the account's bank.
func CheckAmount(m ledger.Money) error {
	_, err := toWire(m)
	return err
}

// toWire converts an amount to Stripe's unit.
func toWire(m ledger.Money) (int64, error) {
	multiply, divide, ok := scale(m.Currency)
	if !ok {
		return 0, errors.New("must be in a currency that the processor takes")
	}
	wireMax := int64(99_999_999)
	for range digitsMax[m.Currency] - 8 {
		wireMax = wireMax*10 + 9
	}
	step := divide
	if threeDecimal[m.Currency] {
		step = 10
	}
	switch minorMax := wireMax / multiply * divide; {
	case m.Minor < 1:
		return 0, errors.New("must be at least 1")
	case m.Minor > minorMax:
		return 0, fmt.Errorf("must be at most %d, the most that the processor takes in %s",
			minorMax, m.Currency)
	case m.Minor%step != 0:
		return 0, fmt.Errorf("must be a multiple of %d, the smallest step of the processor in %s",
			step, m.Currency)
	}
	return m.Minor * multiply / divide, nil
}

// fromWire converts an amount of Stripe to the ledger's minor unit, or returns zero
// Money.
func fromWire(wire int64, currency stripe.Currency) ledger.Money {
	ours := ledger.Currency(strings.ToUpper(string(currency)))
	multiply, divide, ok := scale(ours)
	if !ok || wire%multiply != 0 || wire < -ledger.AmountMax || wire > ledger.AmountMax/divide {
		return ledger.Money{}
	}
	return ledger.Money{Minor: wire / multiply * divide, Currency: ours}
}

// scale relates the two units of a currency: wire = minor * multiply / divide.
func scale(c ledger.Currency) (multiply, divide int64, ok bool) {
	decimals := 2
	switch {
	case zeroDecimal[c]:
		decimals = 0
	case threeDecimal[c]:
		decimals = 3
	}
	// If the decimals differ and Stripe's page does not say so, the unit is not certain.
	if !c.Known() || (decimals != c.MinorUnitDigits()) != differs[c] {
		return 0, 0, false
	}
	multiply, divide = 1, 1
	for range decimals - c.MinorUnitDigits() {
		multiply *= 10
	}
	for range c.MinorUnitDigits() - decimals {
		divide *= 10
	}
	return multiply, divide, true
}

func wireCurrency(c ledger.Currency) string { return strings.ToLower(string(c)) }
