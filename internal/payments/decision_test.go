package payments

import (
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
)

// The decisions that the model test and the batch tests cannot reach: another
// merchant's payment, full accounts, and times.

// stateWithHold is the state of a transaction that has locked an authorized payment of
// 100 from alice, who has 1000, to shop.
func stateWithHold(t *testing.T, shopHas int64) (*state, *Payment) {
	t.Helper()
	p := &Payment{
		MerchantID: 1, ID: newID(), Amount: usd(100), SourceAccount: "alice",
		DestinationAccount: "shop", Version: 1, Status: StatusAuthorized,
		AuthorizedUntil: testNow.Add(time.Minute),
	}
	st := testState(openAccount("alice", 1000), openAccount("shop", shopHas))
	st.payments[paymentRef{1, p.ID}] = p
	if err := st.book.Place(p.hold()); err != nil {
		t.Fatal(err)
	}
	return st, p
}

func claimOn(p *Payment, operation string) *idempotency.Claim {
	claim := testClaim()
	claim.Operation, claim.PaymentID = operation, p.ID
	return claim
}

func wantRefusal(t *testing.T, got decision, want Code) {
	t.Helper()
	if got.refusal == nil || got.refusal.Code != want {
		t.Errorf("came to %+v, want %s", got, want)
	}
}

func TestPaymentOfAnotherMerchantIsNotFound(t *testing.T) {
	st, p := stateWithHold(t, 0)
	claim := claimOn(p, operationCancel)
	claim.MerchantID = 2
	wantRefusal(t, decideCancel(st, claim), CodeNotFound)
}

func TestCaptureThatMakesABalanceTooLargeLeavesTheHold(t *testing.T) {
	st, p := stateWithHold(t, ledger.AmountMax-50)
	wantRefusal(t, decideCapture(st, claimOn(p, operationCapture), nil), CodeUnprocessable)
	alice, _ := st.book.Account(ledger.Ref{MerchantID: 1, AccountID: "alice"})
	if alice.Held != 100 {
		t.Errorf("%d is held, want 100", alice.Held)
	}
}

// The transaction's timestamp is not earlier than the last entry of any account in the
// batch. If the clock was ahead for a while, the timestamp lies in the future. Only the
// clock ends an authorization.
func TestClockAloneEndsAnAuthorization(t *testing.T) {
	st, p := stateWithHold(t, 0)
	st.now = testNow.Add(time.Hour)
	wantRefusal(t, decideExpire(st, claimOn(p, operationExpire)), CodeInvalidState)
	if got := decideCapture(st, claimOn(p, operationCapture), nil); got.refusal != nil {
		t.Errorf("a capture in time is refused: %v", got.refusal)
	}

	st, p = stateWithHold(t, 0)
	st.clock = p.AuthorizedUntil
	wantRefusal(t, decideCapture(st, claimOn(p, operationCapture), nil), CodeInvalidState)
	if got := decideExpire(st, claimOn(p, operationExpire)); got.refusal != nil {
		t.Errorf("an expiry in time is refused: %v", got.refusal)
	}
}
