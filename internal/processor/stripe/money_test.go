package stripe_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

// TestAmountsAreConvertedBothWays sends our amount, and reads the answer with Stripe's.
func TestAmountsAreConvertedBothWays(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		ours ledger.Money
		wire int64
	}{
		{ledger.Money{Minor: 1099, Currency: "USD"}, 1099},
		{ledger.Money{Minor: 500, Currency: "JPY"}, 500},
		{ledger.Money{Minor: 5, Currency: "ISK"}, 500},
		{ledger.Money{Minor: 5, Currency: "UGX"}, 500},
		{ledger.Money{Minor: 500, Currency: "MGA"}, 5},
		{ledger.Money{Minor: 5120, Currency: "KWD"}, 5120},
		{ledger.Money{Minor: 1045, Currency: "HUF"}, 1045},
		{ledger.Money{Minor: 80045, Currency: "TWD"}, 80045},
	} {
		t.Run(string(row.ours.Currency), func(t *testing.T) {
			text := change(t, intentText, `"usd"`,
				`"`+strings.ToLower(string(row.ours.Currency))+`"`,
				`"amount":4999`, fmt.Sprintf(`"amount":%d`, row.wire))
			p := newProcessor(t, answering(200, text))
			got, err := p.client().CreateIntent(t.Context(), "key", stripe.NewIntent{
				Owner: owner, Amount: row.ours, PaymentMethod: "pm_card_visa",
			})
			if err != nil || got.Amount != row.ours {
				t.Errorf("got %v, %v; want %v", got.Amount, err, row.ours)
			}
			if sent := p.got()[0].form.Get("amount"); sent != fmt.Sprint(row.wire) {
				t.Errorf("sent %s, want %d", sent, row.wire)
			}
		})
	}
}

func TestAmountsThatTheProcessorCannotTakeAreRefused(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		amount int64
		code   ledger.Currency
		want   string // a part of the text; "" means taken
	}{
		{1, "USD", ""},
		{0, "USD", "at least 1"},
		{-1, "USD", "at least 1"},
		{99_999_999, "USD", ""},
		{100_000_000, "USD", "at most 99999999"},
		{ledger.AmountMax, "USD", "at most"},
		{999_999_999, "INR", ""},
		{1_000_000_000, "INR", "at most 999999999"},
		{9_999_999_999, "JPY", ""},
		{10_000_000_000, "JPY", "at most 9999999999"},
		{999_999_999_999, "IDR", ""},
		{1_000_000_000_000, "IDR", "at most"},
		{999_999, "ISK", ""},
		{1_000_000, "ISK", "at most 999999,"},
		{9_999_999_900, "MGA", ""},
		{10_000_000_000, "MGA", "at most 9999999900,"},
		{501, "MGA", "multiple of 100"},
		{5124, "KWD", "multiple of 10"},
		{5120, "KWD", ""},
		{99_999_990, "TND", ""},
		{1000, "IQD", "currency"}, // three decimals, and not on Stripe's list
		{10_000, "CLF", "currency"},
		{100, "UYI", "currency"},
		{100, "XXX", "currency"},
		{100, "usd", "currency"},
		{100, "", "currency"},
	} {
		err := stripe.CheckAmount(ledger.Money{Minor: row.amount, Currency: row.code})
		if (err == nil) != (row.want == "") ||
			err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%d %s: got %v, want %q", row.amount, row.code, err, row.want)
		}
	}
}

// TestCurrenciesOfTheLedgerCanBeCharged lists the ones that cannot, by their decimals.
func TestCurrenciesOfTheLedgerCanBeCharged(t *testing.T) {
	t.Parallel()
	refused := map[ledger.Currency]bool{
		"IQD": true, "LYD": true, "CLF": true, "UYW": true, "UYI": true,
	}
	for _, code := range ledger.Currencies() {
		err := stripe.CheckAmount(ledger.Money{Minor: 1000, Currency: code})
		if (err != nil) != refused[code] {
			t.Errorf("%s: %v", code, err)
		}
	}
}

// TestFractionsFromTheProcessorAreNotRounded reads ISK 5.01, which nobody can be charged.
func TestFractionsFromTheProcessorAreNotRounded(t *testing.T) {
	p := newProcessor(t, answering(200, change(t, intentText, `"usd"`, `"isk"`,
		`"amount":4999`, `"amount":501`)))
	got, err := p.client().Retrieve(t.Context(), "pi_1")
	if err != nil || got.Amount != (ledger.Money{}) {
		t.Errorf("got %v, %v", got.Amount, err)
	}
}
