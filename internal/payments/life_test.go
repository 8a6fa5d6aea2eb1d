package payments

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// race sends n requests at once, to two instances in turn and under a key each, and
// counts what they came to. The name tells its keys from those of another race.
func race(
	t *testing.T, db *pgtest.DB, merchantID int64, name string, n int, request func(i int) request,
) map[string]int {
	t.Helper()
	instances := []*Service{newService(t, db.URL), newService(t, db.URL)}
	results := make([]string, n)
	start := make(chan struct{})
	var callers sync.WaitGroup
	for i := range n {
		callers.Go(func() {
			caller := callerWith(merchantID, fmt.Sprint(name, " ", i))
			<-start
			reply, err := request(i).send(context.Background(), instances[i%2], caller)
			results[i] = result(reply, err, caller)
		})
	}
	close(start)
	callers.Wait()
	counts := map[string]int{}
	for _, r := range results {
		counts[r]++
	}
	return counts
}

func wantCounts(t *testing.T, got map[string]int, want map[string]int) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("came to %v, want %v", got, want)
	}
}

// authorizeOrCharge makes a payment from a to b.
func authorizeOrCharge(
	t *testing.T, s *Service, merchantID, cents int64, authorizeOnly bool,
) uuid.UUID {
	t.Helper()
	return charge(t, s, merchantID, "first", Charge{
		Amount: usd(cents), SourceAccount: "a", DestinationAccount: "b",
		AuthorizeOnly: authorizeOnly, Reference: "order",
	}).PaymentID
}

// FAULTS 41. Two refunds of $60 on $100 both succeeded: hyperswitch 13182 (BUGS 22).
func TestRefundsOfAThirdAtOnceAreThree(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db.URL)
	merchantID := newMerchant(t, s, map[string]int64{"a": 300, "b": 0})
	payment := authorizeOrCharge(t, s, merchantID, 300, false)
	third := int64(100)
	got := race(t, db, merchantID, "race", 100, func(int) request {
		return request{operation: operationRefund, payment: payment, amount: &third}
	})
	wantCounts(t, got, map[string]int{"201": 3, "refused: " + string(CodeAmountTooLarge): 97})
	if balance := balanceOf(t, s, merchantID, "a"); balance != 300 {
		t.Errorf("a is at %d, want 300", balance)
	}
}

// FAULTS 41. Over-capture by check-then-act: medusa 16012 (BUGS 23). A pending payment
// was committed twice: midaz 1519, blnk 171 (BUGS 24).
func TestOfManyCapturesOneWins(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db.URL)
	merchantID := newMerchant(t, s, map[string]int64{"a": 300, "b": 0})
	payment := authorizeOrCharge(t, s, merchantID, 300, true)
	part := int64(200)
	got := race(t, db, merchantID, "race", 100, func(int) request {
		return request{operation: operationCapture, payment: payment, amount: &part}
	})
	wantCounts(t, got, map[string]int{"200": 1, "refused: " + string(CodeInvalidState): 99})
	if balance := balanceOf(t, s, merchantID, "b"); balance != 200 {
		t.Errorf("b is at %d, want 200", balance)
	}
}

// Two reversals, two voids at once: open-bank-oss 528, lago-api 5495 (BUGS 26).
func TestOfCapturesAndCancelsOneWins(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db.URL)
	merchantID := newMerchant(t, s, map[string]int64{"a": 300, "b": 0})
	payment := authorizeOrCharge(t, s, merchantID, 300, true)
	got := race(t, db, merchantID, "race", 100, func(i int) request {
		return request{operation: []string{operationCapture, operationCancel}[i/2%2],
			payment: payment}
	})
	wantCounts(t, got, map[string]int{"200": 1, "refused: " + string(CodeInvalidState): 99})
	account, err := accountsOf(s).
		Get(t.Context(), ledger.Ref{MerchantID: merchantID, AccountID: "a"})
	if err != nil || account.Held != 0 || account.Posted != 0 && account.Posted != 300 {
		t.Errorf("a is at %d with %d held, %v", account.Posted, account.Held, err)
	}
}

// FAULTS 41. Two voids at once: lago-api 5495 (BUGS 26).
func TestOfManyCancelsOneWins(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db.URL)
	merchantID := newMerchant(t, s, map[string]int64{"a": 300, "b": 0})
	payment := authorizeOrCharge(t, s, merchantID, 300, true)
	got := race(t, db, merchantID, "race", 100, func(int) request {
		return request{operation: operationCancel, payment: payment}
	})
	wantCounts(t, got, map[string]int{"200": 1, "refused: " + string(CodeInvalidState): 99})
	wantCanceledOnce(t, s, merchantID, payment)
}

// FAULTS 41, and 27. The two wait for the payment in that order, on an instance each,
// until it is let go.
func TestOfACancelAndTheExpiryOneHappens(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ first, cancelGets string }{
		{operationCancel, "200"},
		{operationExpire, "refused: " + string(CodeInvalidState)},
	} {
		t.Run(row.first+" first", func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			s, other := newService(t, db.URL), newService(t, db.URL)
			merchantID := newMerchant(t, s, map[string]int64{"a": 300, "b": 0})
			s.authorizedFor = 0 // its time is over at once
			payment := authorizeOrCharge(t, s, merchantID, 300, true)
			holder, err := db.Pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := holder.Exec(t.Context(),
				`SELECT FROM payments WHERE merchant_id = $1 FOR UPDATE`, merchantID); err != nil {
				t.Fatal(err)
			}
			var canceled string
			ways := []func(){
				func() {
					caller := callerWith(merchantID, "cancel")
					reply, err := s.Cancel(context.Background(), caller, payment)
					canceled = result(reply, err, caller)
				},
				func() {
					if _, err := other.ExpireAuthorizations(context.Background(),
						100); err != nil {
						t.Error(err)
					}
				},
			}
			if row.first == operationExpire {
				slices.Reverse(ways)
			}
			var rivals sync.WaitGroup
			for i, way := range ways {
				rivals.Go(way)
				waitUntilBlocked(t, db, i+1)
			}
			if err := holder.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			rivals.Wait()
			if canceled != row.cancelGets {
				t.Errorf("the cancel got %s, want %s", canceled, row.cancelGets)
			}
			wantCanceledOnce(t, s, merchantID, payment)
		})
	}
}

// wantCanceledOnce checks that the payment, of all 300 that a has, was canceled, freed
// them, and changed no further.
func wantCanceledOnce(t *testing.T, s *Service, merchantID int64, id uuid.UUID) {
	t.Helper()
	payment, err := s.Get(t.Context(), merchantID, id)
	if err != nil || payment.Status != StatusCanceled || payment.Version != 2 {
		t.Errorf("the payment is %+v, %v", payment, err)
	}
	account, err := accountsOf(s).
		Get(t.Context(), ledger.Ref{MerchantID: merchantID, AccountID: "a"})
	if err != nil || account.Held != 0 || account.Posted != 300 {
		t.Errorf("a is at %d with %d held, %v; want 300 with none held", account.Posted,
			account.Held, err)
	}
}

// FAULTS 42. Holds were ignored in the funds check: blnk 181 (BUGS 25).
func TestWhatIsHeldCannotBeSpent(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db.URL)
	merchantID := newMerchant(t, s, map[string]int64{"a": 300, "b": 0})
	got := race(t, db, merchantID, "race", 100, func(i int) request {
		return request{operation: operationCharge, charge: Charge{
			Amount: usd(100), SourceAccount: "a", DestinationAccount: "b",
			AuthorizeOnly: i/2%2 == 0,
		}}
	})
	wantCounts(t, got, map[string]int{"201": 3, "402": 97})
}

// A rejected hold was applied later: blnk 182 (BUGS 25). A canceled payment frees its
// reference, for a charge of the same batch too.
func TestACanceledPaymentFreesItsReferenceAtOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db.URL)
	merchantID := newMerchant(t, s, map[string]int64{"a": 300, "b": 0})
	payment := authorizeOrCharge(t, s, merchantID, 300, true)
	again := Charge{Amount: usd(1), SourceAccount: "world", DestinationAccount: "b",
		Reference: "order"}
	batch := []*operation{
		newCharge(callerWith(merchantID, "too early"), again),
		newCancel(callerWith(merchantID, "cancel"), payment),
		newCharge(callerWith(merchantID, "in time"), again),
		newCharge(callerWith(merchantID, "too late"), again),
	}
	if err := s.transact(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, op := range batch {
		got = append(got, verdict(op))
	}
	if want := "[duplicate_reference 200 201 duplicate_reference]"; fmt.Sprint(got) != want {
		t.Errorf("came to %v, want %s", got, want)
	}
	charge(t, s, merchantID, "another",
		Charge{Amount: usd(1), SourceAccount: "world", DestinationAccount: "b",
			Reference: "another"})
}

// FAULTS 27: an authorization ends by the database's clock, once, whichever instance
// finds it.
func TestAnAuthorizationThatIsOverIsCanceledOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db.URL)
	merchantID := newMerchant(t, s, map[string]int64{"a": 300, "b": 0})
	s.authorizedFor = 0
	over := authorizeOrCharge(t, s, merchantID, 100, true)
	s.authorizedFor = time.Hour
	charge(t, s, merchantID, "lasts",
		Charge{Amount: usd(100), SourceAccount: "a", DestinationAccount: "b", AuthorizeOnly: true})

	if _, err := s.Capture(t.Context(), callerWith(merchantID, "late"),
		Capture{PaymentID: over}); !refusedWith(err, CodeInvalidState) {
		t.Errorf("capturing late: %v, want %s", err, CodeInvalidState)
	}
	instances := []*Service{s, newService(t, db.URL), newService(t, db.URL)}
	var sweepers sync.WaitGroup
	for _, in := range instances {
		sweepers.Go(func() {
			if _, err := in.ExpireAuthorizations(context.Background(), 100); err != nil {
				t.Error(err)
			}
		})
	}
	sweepers.Wait()
	payment, err := s.Get(t.Context(), merchantID, over)
	if err != nil || payment.Status != StatusCanceled || payment.Version != 2 {
		t.Errorf("the payment is %+v, %v", payment, err)
	}
	account, err := accountsOf(s).
		Get(t.Context(), ledger.Ref{MerchantID: merchantID, AccountID: "a"})
	if err != nil || account.Held != 100 || account.Posted != 300 {
		t.Errorf("a is at %d with %d held, %v; want 300 with 100 held", account.Posted,
			account.Held, err)
	}
	if n, err := s.ExpireAuthorizations(t.Context(), 100); n != 0 || err != nil {
		t.Errorf("%d are left, %v", n, err)
	}
}

func refusedWith(err error, code Code) bool {
	refusal, refused := errors.AsType[*Refusal](err)
	return refused && refusal.Code == code
}

// The look for expired authorizations comes every second. It reads those, and not all
// that are open.
func TestOnlyExpiredAuthorizationsAreRead(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	rows, err := db.Pool.Query(t.Context(), `EXPLAIN (COSTS off) `+expiredSQL, 500)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(plan, "\n"); !strings.Contains(text,
		"Index Cond: (authorized_until <=") {
		t.Errorf("the index is not bounded by the time:\n%s", text)
	}
}
