package payments

import (
	"maps"
	"math"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

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

// testState is what a transaction has locked: the accounts, and references with their
// holders.
func testState(holders map[reference]uuid.UUID, accounts ...ledger.Balance) *state {
	st := &state{
		book:       ledger.NewBook(accounts...),
		payments:   map[paymentRef]*Payment{},
		saved:      map[paymentRef]*Payment{},
		references: newReferences(),
		now:        testNow,
		clock:      testNow,
	}
	maps.Copy(st.references.holders, holders)
	return st
}

func testClaim() *idempotency.Claim {
	return &idempotency.Claim{
		Key:       idempotency.Key{MerchantID: 1, Scope: idempotency.ScopeClient, Value: "k"},
		RequestID: newID(), PaymentID: newID(),
	}
}

func usd(minor int64) ledger.Money { return ledger.Money{Minor: minor, Currency: "USD"} }

func TestWhatACharge(t *testing.T) {
	closed := openAccount("closed", 100)
	closed.Status = ledger.StatusClosed
	euros := openAccount("euros", 100)
	euros.Currency = "EUR"
	full := openAccount("full", math.MaxInt64)
	holder := newID()
	held := map[reference]uuid.UUID{{1, "taken"}: holder}
	charge := func(source, destination string, minor int64, name string) Charge {
		return Charge{Amount: usd(minor), SourceAccount: source, DestinationAccount: destination,
			Reference: name}
	}

	for _, test := range []struct {
		name    string
		charge  Charge
		status  Status
		refusal Code
	}{
		{"of what is there succeeds", charge("alice", "shop", 100, ""), StatusSucceeded, ""},
		{
			"under a free reference succeeds", charge("alice", "shop", 100, "free"),
			StatusSucceeded, "",
		},
		{
			"of more than is there is declined", charge("alice", "shop", 101, ""), StatusDeclined,
			"",
		},
		{
			"of more than is there is declined, whatever its reference",
			charge("alice", "shop", 101, "free"), StatusDeclined, "",
		},
		{"from nowhere is refused", charge("nobody", "shop", 1, ""), "", CodeAccountNotFound},
		{"to nowhere is refused", charge("alice", "nobody", 1, ""), "", CodeAccountNotFound},
		{
			"from a closed account is refused", charge("closed", "shop", 1, ""), "",
			CodeAccountClosed,
		},
		{
			"to a closed account is refused", charge("alice", "closed", 1, ""), "",
			CodeAccountClosed,
		},
		{
			"from another currency is refused", charge("euros", "shop", 1, ""), "",
			CodeCurrencyMismatch,
		},
		{
			"to another currency is refused", charge("alice", "euros", 1, ""), "",
			CodeCurrencyMismatch,
		},
		{
			"under a reference that is held is refused", charge("alice", "shop", 1, "taken"), "",
			CodeDuplicateReference,
		},
		{
			"that overflows a balance is refused", charge("alice", "full", 1, ""), "",
			CodeUnprocessable,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			st := testState(held, openAccount("alice", 100), openAccount("shop", 0), closed, euros,
				full)
			claim := testClaim()
			got := decideCharge(st, claim, &test.charge)
			if (got.payment == nil) == (got.refusal == nil) {
				t.Fatalf("a decision is a payment or a refusal, not %v and %v", got.payment,
					got.refusal)
			}
			if got.refusal != nil {
				if got.refusal.Code != test.refusal {
					t.Fatalf("refused with %s, want %s%s", got.refusal.Code, test.refusal,
						test.status)
				}
				if test.refusal == CodeDuplicateReference && got.refusal.PaymentID != holder {
					t.Errorf("the refusal points to %s, want %s", got.refusal.PaymentID, holder)
				}
				return
			}
			checkPayment(t, got, claim, &test.charge, test.status)
			id, holds := st.references.holder(reference{1, test.charge.Reference})
			if want := test.status == StatusSucceeded &&
				test.charge.Reference != ""; holds != want || holds && id != claim.PaymentID {
				t.Errorf("holds its reference: %t, want %t", holds, want)
			}
		})
	}
}

func checkPayment(
	t *testing.T, got decision, claim *idempotency.Claim, charge *Charge, status Status,
) {
	t.Helper()
	p := got.payment
	if p.Status != status || p.ID != claim.PaymentID || p.Amount != charge.Amount ||
		!p.CreatedAt.Equal(testNow) {
		t.Errorf("payment %+v, want %s", p, status)
	}
	if got.event != "payment."+string(status) {
		t.Errorf("event %s for a payment that is %s", got.event, status)
	}
	captured, code := charge.Amount.Minor, ""
	if status == StatusDeclined {
		captured, code = 0, DeclineInsufficientFunds
	}
	if p.AmountCaptured != captured || p.DeclineCode != code {
		t.Errorf("captured %d, decline code %q; want %d, %q", p.AmountCaptured, p.DeclineCode,
			captured, code)
	}
}

func TestDebitsOfOneBatchThatDoNotFitAreDeclinedAlone(t *testing.T) {
	st := testState(nil, openAccount("alice", 100), openAccount("shop", 0))
	var succeeded []int64
	for _, minor := range []int64{60, 50, 30, 20, 10} {
		charge := Charge{Amount: usd(minor), SourceAccount: "alice", DestinationAccount: "shop"}
		d := decideCharge(st, testClaim(), &charge)
		if d.payment.Status == StatusSucceeded {
			succeeded = append(succeeded, minor)
		}
	}
	if len(succeeded) != 3 || succeeded[0]+succeeded[1]+succeeded[2] != 100 {
		t.Errorf("%v succeeded, want 60, 30 and 10", succeeded)
	}
}

// Whatever is charged, in whatever order: no money appears or vanishes, nobody goes
// below zero, a reference has one payment, and what succeeded is exactly what moved.
func TestChargesOnlyMoveMoney(t *testing.T) {
	ids := []string{"a", "b", "c", "nobody"}
	rapid.Check(t, func(t *rapid.T) {
		start := map[string]int64{}
		var accounts []ledger.Balance
		for _, id := range ids[:3] {
			start[id] = rapid.Int64Range(0, 30).Draw(t, id)
			accounts = append(accounts, openAccount(id, start[id]))
		}
		st := testState(nil, accounts...)
		byName := map[string]int{}
		for range rapid.IntRange(1, 40).Draw(t, "charges") {
			charge := Charge{
				Amount:             usd(rapid.Int64Range(1, 20).Draw(t, "amount")),
				SourceAccount:      rapid.SampledFrom(ids).Draw(t, "source"),
				DestinationAccount: rapid.SampledFrom(ids).Draw(t, "destination"),
				Reference: rapid.SampledFrom([]string{"", "", "", "r", "s"}).
					Draw(t, "reference"),
			}
			if charge.check() != nil {
				continue
			}
			if d := decideCharge(st, testClaim(), &charge); d.payment != nil &&
				d.payment.Status == StatusSucceeded {
				start[charge.SourceAccount] -= charge.Amount.Minor
				start[charge.DestinationAccount] += charge.Amount.Minor
				byName[charge.Reference]++
			}
		}
		for _, id := range ids[:3] {
			account, _ := st.book.Account(ledger.Ref{MerchantID: 1, AccountID: id})
			if account.Posted != start[id] || account.Posted < 0 {
				t.Errorf("account %s is at %d, its succeeded charges say %d", id, account.Posted,
					start[id])
			}
		}
		if byName["r"] > 1 || byName["s"] > 1 {
			t.Errorf("references were used %v times", byName)
		}
	})
}

func TestPaymentIDsAreReadAsTheyWereWritten(t *testing.T) {
	id := newID()
	text := FormatID(id)
	if got, err := ParseID(text); err != nil || got != id {
		t.Errorf("ParseID(%q) = %v, %v", text, got, err)
	}
	for _, bad := range []string{
		"", "pay_", text[4:], text + "0", text[:35], "pay_" + "0192F3A0" + text[12:], "ref_" +
			text[4:], "pay_" + text[4:35] + "g",
	} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("ParseID(%q) is accepted", bad)
		}
	}
}

func TestPaymentIDsSortByTime(t *testing.T) {
	for last, i := "", 0; i < 1000; i++ {
		id := FormatID(newID())
		if id <= last {
			t.Fatalf("%s was made after %s", id, last)
		}
		last = id
	}
}

// An account without a limit covers everything, but what is held has 64 bits like every
// sum.
func TestHoldsDoNotOverflow(t *testing.T) {
	world := openAccount("world", 0)
	world.OverdraftLimit = nil
	st := testState(nil, world, openAccount("shop", 0))
	hold := Charge{Amount: usd(ledger.AmountMax), SourceAccount: "world",
		DestinationAccount: "shop", AuthorizeOnly: true}
	for n := 1; ; n++ {
		d := decideCharge(st, testClaim(), &hold)
		if d.refusal != nil {
			if d.refusal.Code != CodeUnprocessable || n != 1025 {
				t.Errorf("authorization %d is refused with %s", n, d.refusal.Code)
			}
			break
		}
	}
	if account, _ := st.book.Account(ledger.Ref{MerchantID: 1,
		AccountID: "world"}); account.Held < 0 {
		t.Errorf("%d is held", account.Held)
	}
}
