package ledger

import "fmt"

// AmountMax is the largest amount of one payment, in minor units: 2^53-1, the largest
// integer that every JSON reader keeps exact (RFC 8259, section 6). Balances stay within
// ±AmountMax, and so do the amounts held and the overdraft limits.
const AmountMax = 1<<53 - 1

// Money is an amount in the minor unit of its currency: 4999 USD is $49.99, 4999 JPY is
// ¥4999.
type Money struct {
	Minor    int64
	Currency Currency
}

func (m Money) String() string { return fmt.Sprintf("%d %s", m.Minor, m.Currency) }

// fits tells whether an account may have the balance, or hold the amount.
func fits(minor int64) bool { return -AmountMax <= minor && minor <= AmountMax }
