package ledger_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
)

func ref(id string) ledger.Ref { return ledger.Ref{MerchantID: 1, AccountID: id} }

// account is a locked account with a balance and an overdraft limit of 0.
func account(id string, balance int64) ledger.Balance {
	var noOverdraft int64
	return ledger.Balance{
		Ref: ref(id), Currency: "USD", Status: ledger.StatusOpen,
		Posted: balance, OverdraftLimit: &noOverdraft,
	}
}

func journal(lines ...ledger.Line) ledger.Journal {
	return ledger.Journal{
		MerchantID: 1, ID: uuid.New(), PaymentID: uuid.New(), Currency: "USD",
		Lines: lines,
	}
}

// See docs/bugs.md, "negative times negative".
func TestPostRefusesInvalidJournals(t *testing.T) {
	limited := account("limited", 100)
	limit := int64(50)
	limited.OverdraftLimit = &limit
	held := account("held", 100)
	held.Held = 30
	unlimited := account("world", -1000)
	unlimited.OverdraftLimit = nil
	euros := account("euros", 100)
	euros.Currency = "EUR"
	full := account("full", ledger.AmountMax-5)
	empty := account("empty", 5-ledger.AmountMax)
	empty.OverdraftLimit = nil

	for _, test := range []struct {
		name  string
		lines []ledger.Line
		err   error
	}{
		{"moves what is there", []ledger.Line{{"a", -100}, {"b", 100}}, nil},
		{"has as many sides as it needs", []ledger.Line{{"a", -100}, {"b", 97}, {"held", 3}}, nil},
		{"uses an overdraft to its limit", []ledger.Line{{"limited", -150}, {"b", 150}}, nil},
		{
			"takes anything from an account without a limit",
			[]ledger.Line{{"world", 1000 - ledger.AmountMax}, {"b", ledger.AmountMax - 1000}},
			nil,
		},

		{
			"never takes more than is there",
			[]ledger.Line{{"a", -101}, {"b", 101}},
			ledger.ErrInsufficientFunds,
		},
		{
			"never takes more than the overdraft allows",
			[]ledger.Line{{"limited", -151}, {"b", 151}},
			ledger.ErrInsufficientFunds,
		},
		{
			"never takes what is held",
			[]ledger.Line{{"held", -71}, {"b", 71}},
			ledger.ErrInsufficientFunds,
		},
		{"never makes money", []ledger.Line{{"a", -100}, {"b", 101}}, ledger.ErrUnbalanced},
		{"never loses money", []ledger.Line{{"a", -100}, {"b", 99}}, ledger.ErrUnbalanced},
		{"has two sides", []ledger.Line{{"b", 100}}, ledger.ErrUnbalanced},
		{"has sides", nil, ledger.ErrUnbalanced},
		{"does not move nothing", []ledger.Line{{"a", 0}, {"b", 0}}, ledger.ErrUnbalanced},
		{"names an account once", []ledger.Line{{"a", -100}, {"a", 100}}, ledger.ErrUnbalanced},
		{
			"leaves the most that a balance may be",
			[]ledger.Line{{"empty", -5}, {"full", 5}},
			nil,
		},
		{
			"does not make a balance too large",
			[]ledger.Line{{"a", -6}, {"full", 6}},
			ledger.ErrBalanceTooLarge,
		},
		{
			"does not make a debt too large",
			[]ledger.Line{{"empty", -6}, {"b", 6}},
			ledger.ErrBalanceTooLarge,
		},
		{
			"does not overflow",
			[]ledger.Line{{"b", math.MaxInt64}, {"a", 1}},
			ledger.ErrBalanceTooLarge,
		},
		{
			"keeps currencies apart",
			[]ledger.Line{{"a", -100}, {"euros", 100}},
			ledger.ErrCurrencyMismatch,
		},
		{
			"touches only what is locked",
			[]ledger.Line{{"a", -100}, {"stranger", 100}},
			ledger.ErrNotLocked,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			accounts := []ledger.Balance{
				account("a", 100), account("b", 0), limited, held,
				unlimited, euros, full, empty,
			}
			book := ledger.NewBook(accounts...)
			before := total(book)
			if err := book.Post(journal(test.lines...)); !errors.Is(err, test.err) {
				t.Fatalf("Post = %v, want %v", err, test.err)
			}
			if after := total(book); test.err != nil && after != before {
				t.Errorf("a refused journal changed the books from %v to %v", before, after)
			}
		})
	}
}

// total is every balance of the fixed accounts, for comparison.
func total(book *ledger.Book) (balances [8]int64) {
	for i, id := range []string{
		"a", "b", "limited", "held", "world", "euros", "full", "empty",
	} {
		account, _ := book.Account(ref(id))
		balances[i] = account.Posted
	}
	return balances
}

func TestTimeNeverRunsBackwardsOnAnAccount(t *testing.T) {
	late := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	accounts := []ledger.Balance{account("a", 1), account("b", 1)}
	accounts[1].LastEntryAt = late
	if got := ledger.NewBook(accounts...).LastEntryAt(); !got.Equal(late) {
		t.Errorf("LastEntryAt = %v, want the latest of all, %v", got, late)
	}
}

// See docs/bugs.md, "exponent ignored".
func TestCurrenciesHaveTheExponentsOfISO4217(t *testing.T) {
	for currency, want := range map[ledger.Currency]int{
		"USD": 2, "EUR": 2, "JPY": 0, "KRW": 0,
		"KWD": 3, "BHD": 3, "CLF": 4,
	} {
		if got := currency.MinorUnitDigits(); got != want || !currency.Known() {
			t.Errorf("%s: %d digits, known %t; want %d, true", currency, got, currency.Known(),
				want)
		}
	}
	for _, currency := range []ledger.Currency{"usd", "US", "", "XXX", "XTS", "DEM", "US D"} {
		if currency.Known() {
			t.Errorf("%q is known", currency)
		}
	}
}
