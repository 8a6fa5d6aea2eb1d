package payments

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

const (
	lockA          = `SELECT FROM accounts WHERE merchant_id = $1 AND id = 'a' FOR UPDATE`
	lockAuthorized = `
		SELECT FROM payments WHERE merchant_id = $1 AND status = 'authorized' FOR UPDATE`
)

// While another session holds a row, the operations that need it wait, whether they name
// it or their payment does. All others go on, and answers that are stored are replayed.
func TestBusyRowStallsOnlyOperationsThatNeedIt(t *testing.T) {
	t.Parallel()
	chargeA := func(s *Service, c Caller, _ Reply) (Reply, error) {
		return s.Charge(context.Background(), c, sevenCents)
	}
	capture := func(s *Service, c Caller, held Reply) (Reply, error) {
		return s.Capture(context.Background(), c, Capture{PaymentID: held.PaymentID})
	}
	for _, test := range []struct {
		name, lock string
		blocked    func(*Service, Caller, Reply) (Reply, error)
	}{
		{"the account of a charge", lockA, chargeA},
		{"an account of a payment", lockA, capture},
		{"a payment", lockAuthorized, capture},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			instances := []*Service{newService(t, db.URL), newService(t, db.URL)}
			s := instances[0]
			merchant := newMerchant(t, s, map[string]int64{"a": 100, "b": 0, "c": 1000})
			charged := charge(t, s, merchant, "charged", sevenCents)
			held := charge(t, s, merchant, "held", sevenCentsHeld)
			before := balanceOf(t, s, merchant, "a")
			release := hold(t, db, test.lock, merchant)

			// The same request comes to both instances at once, and once more each.
			replies := make(chan Reply, 4)
			for i := range 4 {
				go func() {
					reply, err := test.blocked(instances[i%2], callerWith(merchant, "blocked"),
						held)
					if err != nil {
						t.Error("the blocked operation: ", err)
					}
					replies <- reply
				}()
			}
			await.Until(t, 10*time.Second, "both instances know the locked row", func() bool {
				return len(instances[0].busy.known()) > 0 && len(instances[1].busy.known()) > 0
			})
			other := sevenCents
			other.SourceAccount = "c"
			missing := other
			missing.DestinationAccount = "nobody"
			for i := range 20 {
				started := time.Now()
				charge(t, instances[i%2], merchant, fmt.Sprint("other ", i), other)
				if took := time.Since(started); took > time.Second {
					t.Errorf("a charge of another account took %v", took)
				}
			}
			if replay := charge(t, s, merchant, "charged",
				sevenCents); replay.PaymentID != charged.PaymentID {
				t.Error("the replay is another payment")
			}
			if _, err := s.Charge(context.Background(), callerWith(merchant, "missing"),
				missing); result(Reply{}, err, Caller{}) != "refused: account_not_found" {
				t.Error("a missing account came to ", err)
			}
			select {
			case <-replies:
				t.Error("an operation did not wait for the locked row")
			default:
			}
			release()
			first := <-replies
			for range 3 {
				if reply := <-replies; reply.RequestID != first.RequestID {
					t.Error("one key came to two answers")
				}
			}
			if got := before - balanceOf(t, s, merchant, "a"); got != 7 {
				t.Errorf("account a paid %d, want 7", got)
			}
		})
	}
}

// Callers of a busy row are bounded in number and in time, and did nothing. Only the
// first costs its transaction the wait for the lock.
func TestCallersOfBusyRowAreBounded(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newLoneWorker(t, db.URL, func(c *Config) { c.QueueSizeMax, c.Timeout = 3, 2*time.Second })
	merchant := newMerchant(t, s, map[string]int64{"a": 100, "b": 0})
	release := hold(t, db, lockA, merchant)
	const callers = 12
	results := make(chan error, callers)
	call := func(i int) {
		_, err := s.Charge(context.Background(), callerWith(merchant, fmt.Sprint("k", i)),
			sevenCents)
		results <- err
	}
	go call(0)
	await.Until(t, 10*time.Second, "the instance knows the locked row", func() bool {
		return len(s.busy.known()) > 0
	})
	before := s.Stats().Transactions.RerunsAfterConflict
	for i := range callers - 1 {
		go call(i + 1)
	}
	told := map[error]int{}
	for range callers {
		err := <-results
		for _, want := range []error{ErrOverloaded, ErrUnavailable} {
			if errors.Is(err, want) {
				told[want]++
			}
		}
	}
	if told[ErrOverloaded] == 0 || told[ErrOverloaded]+told[ErrUnavailable] != callers {
		t.Errorf("%d callers were told %v", callers, told)
	}
	if reruns := s.Stats().Transactions.RerunsAfterConflict - before; reruns > 0 {
		t.Errorf("%d transactions waited for a row that was known to be locked", reruns)
	}
	release()
	if got := balanceOf(t, s, merchant, "a"); got != 100 {
		t.Errorf("a has %d, want 100", got)
	}
}
