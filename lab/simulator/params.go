package simulator

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// params are the form of a request, or its query.
type params url.Values

func (p params) text(name string) string { return url.Values(p).Get(name) }

func (p params) flag(name string) bool { return p.text(name) == "true" }

// allow refuses parameters that an endpoint does not have, as Stripe does.
func (p params) allow(names ...string) error {
	for full := range p {
		name, _, _ := strings.Cut(full, "[")
		if !slices.Contains(names, name) {
			return invalid(full, "parameter_unknown", "Received unknown parameter: %s", full)
		}
	}
	return nil
}

// list reads name[] or name[0], name[1], ….
func (p params) list(name string) []string {
	values := slices.Clone(url.Values(p)[name+"[]"])
	for i := 0; ; i++ {
		value, there := p[name+"["+strconv.Itoa(i)+"]"]
		if !there {
			return values
		}
		values = append(values, value...)
	}
}

// The limits of metadata, by Stripe's documentation.
const (
	metadataKeysMax   = 50
	metadataKeySize   = 40
	metadataValueSize = 500
)

// metadata reads metadata[name].
func (p params) metadata() (map[string]string, error) {
	values := map[string]string{}
	for full := range p {
		rest, ours := strings.CutPrefix(full, "metadata[")
		name := strings.TrimSuffix(rest, "]")
		if !ours || p.text(full) == "" {
			continue
		}
		if len(name) > metadataKeySize || len(p.text(full)) > metadataValueSize {
			return nil, invalid(full, "", "Metadata keys have at most %d characters, and values "+
				"at most %d.", metadataKeySize, metadataValueSize)
		}
		values[name] = p.text(full)
	}
	if len(values) > metadataKeysMax {
		return nil, invalid("metadata", "", "You may only specify up to %d metadata keys.",
			metadataKeysMax)
	}
	return values, nil
}

// integer reads a number of at least one. Zero means that it is not there.
func (p params) integer(name string) (int64, error) {
	text, there := p[name]
	if !there {
		return 0, nil
	}
	number, err := strconv.ParseInt(text[0], 10, 64)
	if err != nil {
		return 0, invalid(name, "parameter_invalid_integer", "Invalid integer: %s", text[0])
	}
	if number < 1 {
		return 0, invalid(name, "parameter_invalid_integer",
			"This value must be greater than or equal to 1.")
	}
	return number, nil
}

// digitsMax is how many digits an amount may have, as documented. A few currencies have
// more.
const digitsMax = 8

var digitsMaxOf = map[string]int{
	"inr": 9, "cop": 10, "huf": 10, "jpy": 10, "lbp": 11, "idr": 12,
}

// amountSteps divide the amounts of their currencies: those of three-decimal currencies
// end in 0, and those of two that have lost their decimals end in 00.
var amountSteps = map[string]int64{
	"bhd": 10, "jod": 10, "kwd": 10, "omr": 10, "tnd": 10, "isk": 100, "ugx": 100,
}

// amount reads the amount and the currency of an intent.
func (p params) amount() (int64, string, error) {
	currency := strings.ToLower(p.text("currency"))
	amount, err := p.integer("amount")
	switch {
	case err != nil:
		return 0, "", err
	case amount == 0:
		return 0, "", invalid("amount", "parameter_missing", "Missing required param: amount.")
	case currency == "":
		return 0, "", invalid("currency", "parameter_missing",
			"Missing required param: currency.")
	case len(currency) != 3 || strings.Trim(currency, "abcdefghijklmnopqrstuvwxyz") != "":
		return 0, "", invalid("currency", "", "Invalid currency: %s.", currency)
	}
	digits := cmp.Or(digitsMaxOf[currency], digitsMax)
	if len(strconv.FormatInt(amount, 10)) > digits {
		return 0, "", invalid("amount", "amount_too_large",
			"Amounts in %s have at most %d digits.", currency, digits)
	}
	if step, special := amountSteps[currency]; special && amount%step != 0 {
		return 0, "", invalid("amount", "", "Amounts in %s must be divisible by %d.", currency,
			step)
	}
	return amount, currency, nil
}
