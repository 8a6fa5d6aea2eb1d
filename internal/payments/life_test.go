package payments

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// race sends a hundred requests at once, each under its own key, to two instances in
// turn. It checks how often each result comes.
func race(
	t *testing.T, db *pgtest.DB, merchantID int64, want map[string]int,
	request func(i int) request,
) {
	t.Helper()
	instances := []*Service{newService(t, db.URL), newService(t, db.URL)}
	got := map[string]int{}
	var mu sync.Mutex // guards got
	start := make(chan struct{})
	var callers sync.WaitGroup
	for i := range 100 {
		callers.Go(func() {
			caller := callerWith(merchantID, fmt.Sprint("race ", i))
			<-start
			reply, err := request(i).send(context.Background(), instances[i%2], caller)
			mu.Lock()
			defer mu.Unlock()
			got[done(want, result(reply, err, caller))]++
		})
	}
	close(start)
	callers.Wait()
	if !maps.Equal(got, want) {
		t.Errorf("came to %v, want %v", got, want)
	}
}

// done is one name for all successes, if that is how they are counted.
func done(want map[string]int, got string) string {
	if _, together := want["done"]; together && (got == "201" || got == begun) {
		return "done"
	}
	return got
}

// authorizeOrCharge makes a payment from a to b.
func authorizeOrCharge(
	t *testing.T, s *Service, merchantID, cents int64, authorizeOnly bool,
) uuid.UUID {
	t.Helper()
	first := aToB(cents)
	first.AuthorizeOnly, first.Reference = authorizeOnly, "order"
	return charge(t, s, merchantID, "first", first).PaymentID
}

// Without the lock on the payment, two refunds of $60 on $100 would both succeed
// (docs/bugs.md, "refunds over the cap").
func TestRacingChangesOfOnePaymentStayWithinItsAmount(t *testing.T) {
	t.Parallel()
	third := int64(100)
	for _, test := range []struct {
		name       string
		authorized bool
		operations []string // in turn
		amount     *int64
		want       map[string]int
		funds      []string // of a, who had 300: one of these
	}{
		{
			"refunds of a third", false,
			[]string{operationRefund},
			&third,
			map[string]int{"201": 3, "refused: amount_too_large": 97},
			[]string{"300 with 0 held"},
		},
		{
			"captures and cancels", true,
			[]string{operationCapture, operationCancel},
			nil,
			map[string]int{"200": 1, "refused: invalid_state": 99},
			[]string{"0 with 0 held", "300 with 0 held"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			s := newService(t, db.URL)
			merchantID := newMerchant(t, s, map[string]int64{"a": 300, "b": 0})
			payment := authorizeOrCharge(t, s, merchantID, 300, test.authorized)
			race(t, db, merchantID, test.want, func(i int) request {
				operation := test.operations[i/2%len(test.operations)]
				return request{operation: operation, payment: payment, amount: test.amount}
			})
			if funds := fundsOf(t, s, merchantID, "a"); !slices.Contains(test.funds, funds) {
				t.Errorf("a has %s, want one of %q", funds, test.funds)
			}
		})
	}
}

func TestHeldMoneyCannotBeSpent(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	merchantID := newMerchant(t, newService(t, db.URL), map[string]int64{"a": 300, "b": 0})
	want := map[string]int{"201": 3, "402": 97}
	race(t, db, merchantID, want, func(i int) request {
		charge := aToB(100)
		charge.AuthorizeOnly = i/2%2 == 0
		return request{operation: operationCharge, charge: charge}
	})
}

// The cancel and the expiry come at the same moment, each on its own instance. The first
// has locked the payment when the second comes.
func TestPaymentIsCanceledOnceByCallerOrExpiry(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ first, cancelGets string }{
		{operationCancel, "200"},
		{operationExpire, "refused: invalid_state"},
	} {
		t.Run(row.first+" first", func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			s, other := newService(t, db.URL), newService(t, db.URL)
			merchantID := newMerchant(t, s, map[string]int64{"a": 300, "b": 0})
			s.authorizedFor = 0 // the authorization ends at once
			payment := authorizeOrCharge(t, s, merchantID, 300, true)
			release := hold(t, db, `LOCK TABLE events IN SHARE MODE`)
			var canceled string
			rivals := []func(){
				func() {
					caller := callerWith(merchantID, "cancel")
					reply, err := s.Cancel(context.Background(), caller, payment)
					canceled = result(reply, err, caller)
				},
				func() { expire(t, other) },
			}
			second := other
			if row.first == operationExpire {
				slices.Reverse(rivals)
				second = s
			}
			var running sync.WaitGroup
			running.Go(rivals[0])
			waitUntilBlocked(t, db, 1)
			running.Go(rivals[1])
			await.Until(t, 10*time.Second, "the second knows of the lock", func() bool {
				return len(second.busy.known()) > 0
			})
			release()
			running.Wait()
			if canceled != row.cancelGets {
				t.Errorf("the cancel got %s, want %s", canceled, row.cancelGets)
			}
			wantCanceledOnce(t, s, merchantID, payment)
		})
	}
}

func expire(t *testing.T, s *Service) {
	t.Helper()
	if _, err := s.ExpireAuthorizations(context.Background(), 100); err != nil {
		t.Error(err)
	}
}

// wantCanceledOnce checks that the payment was canceled, and that a has 300 again.
func wantCanceledOnce(t *testing.T, s *Service, merchantID int64, id uuid.UUID) {
	t.Helper()
	const want = "canceled, 0 captured, 0 refunded, version 2"
	if got := stateOf(t, s, merchantID, id); got != want {
		t.Errorf("the payment is %s; want %s", got, want)
	}
	if got := account(t, s, merchantID, "a").Posted; got != 300 {
		t.Errorf("a has %d, want 300", got)
	}
}

// The charge that uses the reference again is in the batch of the cancel.
func TestCanceledPaymentFreesItsReferenceAtOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db.URL)
	merchantID := newMerchant(t, s, map[string]int64{"a": 300, "b": 0})
	payment := authorizeOrCharge(t, s, merchantID, 300, true)
	again := Charge{
		Amount: usd(1), SourceAccount: "world", DestinationAccount: "b",
		Reference: "order",
	}
	batch := []*operation{
		newCharge(callerWith(merchantID, "too early"), again),
		newCancel(callerWith(merchantID, "cancel"), payment),
		newCharge(callerWith(merchantID, "in time"), again),
		newCharge(callerWith(merchantID, "too late"), again),
	}
	const taken = "refused: duplicate_reference"
	want := []string{taken, "200", "201", taken}
	if got := transactAll(t, s, batch); !slices.Equal(got, want) {
		t.Errorf("came to %q, want %q", got, want)
	}
}

// The database's clock ends an authorization, once, whichever instance finds it.
func TestExpiredAuthorizationIsCanceledOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db.URL)
	merchantID := newMerchant(t, s, map[string]int64{"a": 300, "b": 0})
	s.authorizedFor = 0
	expired := authorizeOrCharge(t, s, merchantID, 100, true)
	s.authorizedFor = time.Hour
	charge(t, s, merchantID, "open", held(aToB(100)))

	late := callerWith(merchantID, "late")
	reply, err := s.Capture(t.Context(), late, Capture{PaymentID: expired})
	if got := result(reply, err, late); got != "refused: invalid_state" {
		t.Errorf("the late capture came to %s", got)
	}
	var sweepers sync.WaitGroup
	for _, in := range []*Service{s, newService(t, db.URL), newService(t, db.URL)} {
		sweepers.Go(func() { expire(t, in) })
	}
	sweepers.Wait()
	wantCanceledOnce(t, s, merchantID, expired)
	if funds := fundsOf(t, s, merchantID, "a"); funds != "300 with 100 held" {
		t.Errorf("a has %s, want 300 with 100 held", funds)
	}
	if n, err := s.ExpireAuthorizations(t.Context(), 100); n != 0 || err != nil {
		t.Errorf("%d authorizations are left, %v", n, err)
	}
}

// Every instance looks for expired authorizations each second. The query must not read
// the open ones.
func TestSearchForExpiredAuthorizationsReadsNoOpenOnes(t *testing.T) {
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
	const bound = "Index Cond: (authorized_until <="
	if text := strings.Join(plan, "\n"); !strings.Contains(text, bound) {
		t.Errorf("the index is not bounded by the time:\n%s", text)
	}
}
