package payments

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

func TestRacingRequestsAskTheProcessorWithinTheAmount(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		first      request
		word       Status
		operations []string // in turn
		want       map[string]int
	}{
		{
			"refunds of a third", charging(cardToB(300)), StatusSucceeded,
			[]string{operationRefund},
			map[string]int{begun: 3, "refused: amount_too_large": 97},
		},
		{
			"captures and cancels", charging(held(cardToB(300))), StatusAuthorized,
			[]string{operationCapture, operationCancel},
			map[string]int{begun: 1, "refused: invalid_state": 99},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newCardFixture(t, test.first)
			f.want(settled, "", settling("first", test.word))
			race(t, f.DB, f.merchant, test.want, func(i int) request {
				r := request{operation: test.operations[i/2%len(test.operations)]}
				if r.operation != operationCancel {
					r.amount = new(int64(100))
				}
				return f.on(r)
			})
		})
	}
}

// A refund's money could be spent by a charge at the same moment.
func TestMoneyOfARefundCannotBeSpentMeanwhile(t *testing.T) {
	t.Parallel()
	f := newCardFixture(t, charging(cardToB(10_000))) // all refunds are within it
	f.want(settled, "", settling("first", StatusSucceeded))
	charge(t, f.s, f.merchant, "spend",
		Charge{Amount: usd(9700), SourceAccount: "b", DestinationAccount: "a"})
	race(t, f.DB, f.merchant, map[string]int{"done": 3, "402": 97}, func(i int) request {
		if i/2%2 == 0 {
			return request{
				operation: operationRefund, payment: f.payment, amount: new(int64(100)),
			}
		}
		return charging(Charge{Amount: usd(100), SourceAccount: "b", DestinationAccount: "a"})
	})
}

// Two first charges come at the same moment.
func TestFirstCardChargesOpenOneClearingAccount(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db.URL)
	merchantID := newMerchant(t, s, map[string]int64{"a": 0, "b": 0})
	ctx := t.Context()
	lost := cardToB(1)
	lost.DestinationAccount = "nobody"
	caller := callerWith(merchantID, "lost")
	_, err := s.Charge(ctx, caller, lost)
	if got := result(Reply{}, err, caller); got != "refused: account_not_found" {
		t.Errorf("a charge for no account came to %s", got)
	}
	ref := ledger.Ref{MerchantID: merchantID, AccountID: clearing}
	if _, err := accountsOf(s).Get(ctx, ref); !errors.Is(err, ledger.ErrAccountNotFound) {
		t.Errorf("a refused charge opened the clearing account: %v", err)
	}
	race(t, db, merchantID, map[string]int{begun: 100}, func(int) request {
		return charging(cardToB(1))
	})
	if got := account(t, s, merchantID, clearing); got.OverdraftLimit != nil || got.Posted != 0 {
		t.Errorf("the clearing account is %+v, want one without a floor", got)
	}
	for _, c := range []Charge{
		{Amount: usd(1), SourceAccount: clearing, DestinationAccount: "a"},
		{Amount: usd(1), SourceAccount: "a", DestinationAccount: clearing},
		{Amount: usd(1), PaymentMethod: "pm_card_visa", DestinationAccount: clearing},
	} {
		caller := callerWith(merchantID, "own")
		reply, err := s.Charge(ctx, caller, c)
		if got := result(reply, err, caller); got != "refused: unprocessable" {
			t.Errorf("%+v came to %s", c, got)
		}
	}
}

func TestAccountIsNotClosedWhileTheProcessorIsAsked(t *testing.T) {
	t.Parallel()
	f := newCardFixture(t, charging(cardToB(30)))
	ref := ledger.Ref{MerchantID: f.merchant, AccountID: "b"}
	wantOpen := func(why string) {
		t.Helper()
		err := accountsOf(f.s).Close(t.Context(), ref, ledger.Unconditional)
		if !errors.Is(err, ledger.ErrAccountNotEmpty) {
			t.Errorf("closing the account of %s: %v, want %v", why, err, ledger.ErrAccountNotEmpty)
		}
	}
	wantOpen("a charge")
	f.want(settled, "", settling("first", StatusSucceeded))
	putAccount(t, f.s, f.merchant, "b", new(int64(100)))
	charge(t, f.s, f.merchant, "spend",
		Charge{Amount: usd(30), SourceAccount: "b", DestinationAccount: "a"})
	f.want(begun, "refund", request{operation: operationRefund, amount: new(int64(10))})
	wantOpen("a refund")
	f.want(settled, "", settling("refund", StatusDeclined))
	if err := accountsOf(f.s).Close(t.Context(), ref, ledger.Unconditional); err != nil {
		t.Fatal(err)
	}
	// Its overdraft could pay.
	f.want("refused: invalid_state", "late", request{operation: operationRefund})
}

func TestExpiredCardAuthorizationIsAskedForOnce(t *testing.T) {
	t.Parallel()
	f := newCardFixture(t, charging(held(cardToB(30))))
	f.s.authorizedFor = 0
	f.want(settled, "", settling("first", StatusAuthorized))
	var sweepers sync.WaitGroup
	for _, s := range []*Service{f.s, f.other, f.s, f.other} {
		sweepers.Go(func() { expire(t, s) })
	}
	sweepers.Wait()
	expire(t, f.s)
	const nothing = "; b has 0 with 0 held, clearing has 0 with 0 held"
	f.wantState("authorized, 0 captured, 0 refunded, version 3; authorize settled, expire open" +
		nothing)
	f.want("refused: invalid_state", "late", request{operation: operationCancel})
	key := idempotency.Key{
		MerchantID: f.merchant, Scope: idempotency.ScopeService,
		Value: "expire:" + FormatID(f.payment),
	}
	if err := f.s.Settle(t.Context(), Settlement{
		MerchantID: f.merchant, AttemptID: attemptID(key), PaymentID: f.payment, Token: 1,
		Status: StatusCanceled,
	}); err != nil {
		t.Fatal(err)
	}
	f.wantState("canceled, 0 captured, 0 refunded, version 4; authorize settled, expire settled" +
		nothing)
	payment, err := f.s.Get(t.Context(), f.merchant, f.payment)
	if err != nil || payment.CancellationReason != CancellationExpired {
		t.Errorf("it was canceled because of %q, %v", payment.CancellationReason, err)
	}
}

func TestServiceWithoutAProcessorChargesNoCard(t *testing.T) {
	t.Parallel()
	f := newCardFixture(t, charging(cardToB(30)))
	f.s.checkCard = nil
	f.want("refused: unprocessable", "new", charging(cardToB(30)))
	f.want(inProgress, "first", charging(cardToB(30)))
	f.want(settled, "", settling("first", StatusDeclined))
	f.want("402 replayed", "first", charging(cardToB(30)))

	tooSmall := errors.New("must be at least 50")
	f.s.checkCard = func(ledger.Money) error { return tooSmall }
	f.want("refused: unprocessable", "new", charging(cardToB(30)))
}

// The instance that began an attempt has it for a while. Nobody waits for an expiry.
func TestAttemptIsLeftToTheInstanceThatBeganIt(t *testing.T) {
	t.Parallel()
	f := newCardFixture(t, charging(held(cardToB(30))))
	f.s.authorizedFor = 0
	f.want(settled, "", settling("first", StatusAuthorized))
	expire(t, f.s)
	rows, err := f.Pool.Query(t.Context(), `
		SELECT operation || ' after ' || round(extract(epoch FROM due_at - created_at))
		FROM processor_attempts ORDER BY operation`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if want := []string{"authorize after 60", "expire after 0"}; !slices.Equal(got, want) {
		t.Errorf("the attempts are due %q, %v; want %q", got, err, want)
	}
}
