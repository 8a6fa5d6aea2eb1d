package payments

import (
	"math"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
)

// stateWith is the state of a transaction that has locked one payment of 100 from alice
// to shop, in the given state.
func stateWith(t *testing.T, edit func(*Payment), accounts ...ledger.Balance) (*state, *Payment) {
	t.Helper()
	p := &Payment{
		MerchantID: 1, ID: newID(), Amount: usd(100), SourceAccount: "alice",
		DestinationAccount: "shop", Version: 1,
		Reference: "order", Status: StatusSucceeded, AmountCaptured: 100,
	}
	edit(p)
	st := testState(nil, accounts...)
	st.payments[paymentRef{1, p.ID}] = p
	st.references.load(p)
	if p.Status == StatusAuthorized {
		if err := st.book.Place(p.hold()); err != nil {
			t.Fatal(err)
		}
	}
	return st, p
}

func authorized(p *Payment) {
	p.Status, p.AmountCaptured, p.AuthorizedUntil = StatusAuthorized, 0, testNow.Add(time.Minute)
}

func claimOn(p *Payment, operation string) *idempotency.Claim {
	claim := testClaim()
	claim.Operation, claim.PaymentID = operation, p.ID
	return claim
}

func TestWhatBecomesOfAPayment(t *testing.T) {
	is := func(status Status) func(*Payment) {
		return func(p *Payment) { p.Status, p.AmountCaptured = status, 0 }
	}
	capture := func(amount *int64) func(*state, *Payment) decision {
		return func(st *state, p *Payment) decision {
			return decideCapture(st, claimOn(p, operationCapture), amount)
		}
	}
	cancel := func(st *state, p *Payment) decision {
		return decideCancel(st, claimOn(p, operationCancel))
	}
	expire := func(st *state, p *Payment) decision {
		return decideExpire(st, claimOn(p, operationExpire))
	}
	refund := func(amount *int64) func(*state, *Payment) decision {
		return func(st *state, p *Payment) decision {
			return decideRefund(st, claimOn(p, operationRefund), newID(),
				RefundRequest{PaymentID: p.ID, Amount: amount})
		}
	}
	expired := func(p *Payment) { authorized(p); p.AuthorizedUntil = testNow }
	refunded := func(p *Payment) { p.AmountRefunded = 40 }
	for _, test := range []struct {
		name    string
		state   func(*Payment)
		do      func(*state, *Payment) decision
		refusal Code
		event   string
		alice   int64 // her balance after; 1000 before
		held    int64
	}{
		{"capturing all", authorized, capture(nil), "", "payment.succeeded", 900, 0},
		{
			"capturing all, by its amount", authorized, capture(new(int64(100))), "",
			"payment.succeeded", 900, 0,
		},
		{
			"capturing a part frees the rest", authorized, capture(new(int64(30))), "",
			"payment.succeeded", 970, 0,
		},
		{
			"capturing more than was authorized", authorized, capture(new(int64(101))),
			CodeAmountTooLarge, "", 1000, 100,
		},
		{
			"capturing when the time is over", expired, capture(nil), CodeInvalidState, "", 1000,
			100,
		},
		{
			"capturing what has been captured", func(*Payment) {}, capture(nil), CodeInvalidState,
			"", 1000, 0,
		},
		{
			"capturing what was canceled", is(StatusCanceled), capture(nil), CodeInvalidState, "",
			1000, 0,
		},
		{
			"capturing what was declined", is(StatusDeclined), capture(nil), CodeInvalidState, "",
			1000, 0,
		},
		{"canceling", authorized, cancel, "", "payment.canceled", 1000, 0},
		{
			"canceling what has been captured", func(*Payment) {}, cancel, CodeInvalidState, "",
			1000, 0,
		},
		{"canceling twice", is(StatusCanceled), cancel, CodeInvalidState, "", 1000, 0},
		{"expiring in time", expired, expire, "", "payment.canceled", 1000, 0},
		{"expiring too early", authorized, expire, CodeInvalidState, "", 1000, 100},
		{
			"expiring what has been captured", func(*Payment) {}, expire, CodeInvalidState, "",
			1000, 0,
		},
		{"refunding all", func(*Payment) {}, refund(nil), "", "refund.succeeded", 1100, 0},
		{
			"refunding a part", func(*Payment) {}, refund(new(int64(1))), "", "refund.succeeded",
			1001, 0,
		},
		{"refunding the rest", refunded, refund(nil), "", "refund.succeeded", 1060, 0},
		{
			"refunding more than the rest", refunded, refund(new(int64(61))), CodeAmountTooLarge,
			"", 1000, 0,
		},
		{
			"refunding when nothing is left", func(p *Payment) { p.AmountRefunded = 100 },
			refund(nil), CodeAmountTooLarge, "", 1000, 0,
		},
		{
			"refunding what is only authorized", authorized, refund(nil), CodeInvalidState, "",
			1000, 100,
		},
		{
			"refunding what was canceled", is(StatusCanceled), refund(nil), CodeInvalidState, "",
			1000, 0,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			st, p := stateWith(t, test.state, openAccount("alice", 1000),
				openAccount("shop", 1000))
			before := *p
			got := test.do(st, p)
			if test.refusal != "" {
				if got.refusal == nil || got.refusal.Code != test.refusal {
					t.Errorf("refused: %+v, want %s", got.refusal, test.refusal)
				}
			} else if got.refusal != nil || got.event != test.event ||
				got.payment.Version != before.Version+1 {
				t.Errorf("came to %+v, want %s and the next version", got, test.event)
			}
			alice, _ := st.book.Account(ledger.Ref{MerchantID: 1, AccountID: "alice"})
			shop, _ := st.book.Account(ledger.Ref{MerchantID: 1, AccountID: "shop"})
			if alice.Posted != test.alice || alice.Held != test.held ||
				alice.Posted+shop.Posted != 2000 {
				t.Errorf("alice has %d with %d held, shop %d; want %d with %d held",
					alice.Posted, alice.Held, shop.Posted, test.alice, test.held)
			}
			if open := test.held / 100; alice.OpenPayments != open || shop.OpenPayments != open {
				t.Errorf("%d and %d payments are open, want %d", alice.OpenPayments,
					shop.OpenPayments, open)
			}
			if after := st.payments[paymentRef{1, p.ID}]; test.refusal != "" &&
				after.Status != before.Status {
				t.Errorf("a refusal changed the payment to %+v", after)
			}
			_, held := st.references.holder(reference{1, "order"})
			if want := before.Status.live() && test.event != "payment.canceled"; held != want {
				t.Errorf("it holds its reference: %t, want %t", held, want)
			}
		})
	}
}

func TestAnotherMerchantsPaymentIsNotThere(t *testing.T) {
	st, p := stateWith(t, authorized, openAccount("alice", 1000), openAccount("shop", 0))
	claim := claimOn(p, operationCancel)
	claim.MerchantID = 2
	if got := decideCancel(st, claim); got.refusal == nil || got.refusal.Code != CodeNotFound {
		t.Errorf("came to %+v, want %s", got, CodeNotFound)
	}
}

func TestARefundThatTheDestinationCannotPayIsDeclinedAndKept(t *testing.T) {
	st, p := stateWith(t, func(*Payment) {}, openAccount("alice", 0), openAccount("shop", 99))
	got := decideRefund(st, claimOn(p, operationRefund), newID(), RefundRequest{PaymentID: p.ID})
	if got.refund == nil || got.refund.Status != RefundDeclined ||
		got.refund.DeclineCode != DeclineInsufficientFunds ||
		got.event != "refund.declined" || got.payment.AmountRefunded != 0 ||
		got.payment.Version != 1 {
		t.Errorf("came to %+v with %+v", got.refund, got.payment)
	}
}

// What does not fit 64 bits is refused, and the hold is as it was.
func TestACaptureThatOverflowsABalanceLeavesTheHold(t *testing.T) {
	st, p := stateWith(t, authorized, openAccount("alice", 1000),
		openAccount("shop", math.MaxInt64-50))
	got := decideCapture(st, claimOn(p, operationCapture), nil)
	if got.refusal == nil || got.refusal.Code != CodeUnprocessable {
		t.Errorf("came to %+v, want %s", got, CodeUnprocessable)
	}
	if alice, _ := st.book.Account(ledger.Ref{MerchantID: 1,
		AccountID: "alice"}); alice.Held != 100 {
		t.Errorf("%d is held, want 100", alice.Held)
	}
}

// The transaction's timestamp is as late as the last entry of any account of the batch,
// and that may lie in the future, from when the database's clock was ahead. What ends
// an authorization is the clock.
func TestAnotherAccountsFutureEndsNoAuthorization(t *testing.T) {
	st, p := stateWith(t, authorized, openAccount("alice", 1000), openAccount("shop", 0))
	st.now = testNow.Add(time.Hour)
	if got := decideExpire(st, claimOn(p, operationExpire)); got.refusal == nil ||
		got.refusal.Code != CodeInvalidState {
		t.Errorf("it is expired: %+v", got)
	}
	if got := decideCapture(st, claimOn(p, operationCapture), nil); got.refusal != nil {
		t.Errorf("it cannot be captured: %v", got.refusal)
	}
}
