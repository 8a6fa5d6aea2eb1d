package ledger

import (
	"maps"
	"slices"
	"strings"
)

// Currency is an ISO 4217 alphabetic code in upper case, for example "USD".
type Currency string

// minorUnitDigits is how many decimal digits each active currency's minor unit has,
// from ISO 4217 (list one). It matters where an amount is shown or compared with
// another system's: 4999 is $49.99, ¥4999 and KD 4.999. Codes of funds, metals and
// tests are left out: nobody is charged in them.
var minorUnitDigits = func() map[Currency]int {
	digits := map[Currency]int{}
	for exponent, codes := range []string{
		0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
		2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD " +
			"CAD CDF CHF CNY COP " +
			"CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD " +
			"HKD HNL HTG HUF IDR ILS " +
			"INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT " +
			"MOP MRU MUR MVR MWK MXN " +
			"MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD " +
			"SCR SDG SEK SGD SHP SLE " +
			"SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES " +
			"WST XCD XCG YER ZAR ZMW " +
			"ZWG",
		3: "BHD IQD JOD KWD LYD OMR TND",
		4: "CLF UYW",
	} {
		for code := range strings.FieldsSeq(codes) {
			digits[Currency(code)] = exponent
		}
	}
	return digits
}()

// Currencies are all that are Known, sorted.
func Currencies() []Currency { return slices.Sorted(maps.Keys(minorUnitDigits)) }

// Known tells whether c is an active ISO 4217 currency.
func (c Currency) Known() bool {
	_, known := minorUnitDigits[c]
	return known
}

// MinorUnitDigits is ISO 4217's exponent: 2 for USD, 0 for JPY, 3 for KWD. It is 0 for
// a currency that is not Known.
func (c Currency) MinorUnitDigits() int { return minorUnitDigits[c] }
