package payments

import (
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
)

var testNow = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// openAccount is an account of merchant 1 in USD without an overdraft.
func openAccount(id string, balance int64) ledger.Balance {
	var noOverdraft int64
	return ledger.Balance{
		Ref: ledger.Ref{MerchantID: 1, AccountID: id}, Currency: "USD", Status: ledger.StatusOpen,
		Posted: balance, OverdraftLimit: &noOverdraft,
	}
}

// testState is the state of a transaction that has locked these accounts.
func testState(accounts ...ledger.Balance) *state {
	return &state{
		book:       ledger.NewBook(accounts...),
		payments:   map[paymentRef]*Payment{},
		saved:      map[paymentRef]*Payment{},
		references: newReferences(),
		now:        testNow,
		clock:      testNow,
	}
}

func testClaim() *idempotency.Claim {
	return &idempotency.Claim{
		Key:       idempotency.Key{MerchantID: 1, Scope: idempotency.ScopeClient, Value: "k"},
		RequestID: newID(), PaymentID: newID(),
	}
}

func usd(minor int64) ledger.Money { return ledger.Money{Minor: minor, Currency: "USD"} }

// The model test proves the rest: its accounts are open, small and of one currency.
func TestChargeOfUnfitAccountsIsRefused(t *testing.T) {
	t.Parallel()
	closed := openAccount("closed", 100)
	closed.Status = ledger.StatusClosed
	euros := openAccount("euros", 100)
	euros.Currency = "EUR"
	full := openAccount("full", ledger.AmountMax)
	for _, test := range []struct {
		source, destination string
		want                Code
	}{
		{"alice", "nobody", CodeAccountNotFound},
		{"closed", "alice", CodeAccountClosed},
		{"alice", "closed", CodeAccountClosed},
		{"euros", "alice", CodeCurrencyMismatch},
		{"alice", "euros", CodeCurrencyMismatch},
		{"alice", "full", CodeUnprocessable}, // its balance would be too large
	} {
		st := testState(openAccount("alice", 100), closed, euros, full)
		got := decideCharge(st, testClaim(), &Charge{
			Amount: usd(1), SourceAccount: test.source, DestinationAccount: test.destination,
		})
		if got.refusal == nil || got.refusal.Code != test.want {
			t.Errorf("from %s to %s: %+v, want %s", test.source, test.destination, got, test.want)
		}
	}
}

func TestPaymentIDsRoundTrip(t *testing.T) {
	id := newID()
	text := FormatID(id)
	if got, err := ParseID(text); err != nil || got != id {
		t.Errorf("ParseID(%q) = %v, %v", text, got, err)
	}
	for _, bad := range []string{
		"", "pay_", text[4:], text + "0", text[:35], "pay_0192F3A0" + text[12:],
		"ref_" + text[4:], text[:35] + "g",
	} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("ParseID(%q) is accepted", bad)
		}
	}
}
