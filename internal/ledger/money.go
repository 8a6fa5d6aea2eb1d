package ledger

import "fmt"

// AmountMax is the largest amount of one payment, in minor units: 2^53-1, the largest
// integer that every JSON reader keeps exact (RFC 8259, section 6).
const AmountMax = 1<<53 - 1

// Money is an amount in the minor unit of its currency: 4999 USD is $49.99, 4999 JPY is
// ¥4999.
type Money struct {
	Minor    int64
	Currency Currency
}

func (m Money) String() string { return fmt.Sprintf("%d %s", m.Minor, m.Currency) }

// add returns a+b, and whether the sum fits.
func add(a, b int64) (int64, bool) {
	sum := a + b
	return sum, (sum > a) == (b > 0)
}
