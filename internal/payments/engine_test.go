package payments

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/paymentsvc/paymentsvc/internal/audit"
	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/internal/validate"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// newService is an instance of the engine on the database.
func newService(t testing.TB, url string) *Service {
	t.Helper()
	pools, err := postgres.Open(context.Background(),
		postgres.Options{URL: url, GeneralSize: 4, MoneySize: 2})
	if err != nil {
		t.Fatal(err)
	}
	service := New(Config{
		Pools: pools, Retention: time.Hour, AuthorizationLifetime: time.Hour,
		Workers: 2, BatchSizeMax: 512, QueueSizeMax: 10_000, Timeout: 10 * time.Second,
		Logger: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(func() {
		service.Close()
		pools.Close()
	})
	return service
}

// newMerchant makes a merchant with an unlimited account "world", and accounts with the
// given balances.
func newMerchant(t testing.TB, s *Service, balances map[string]int64) (merchantID int64) {
	t.Helper()
	ctx := context.Background()
	if err := s.pool.QueryRow(ctx, `
		INSERT INTO merchants (id, name) VALUES ((SELECT coalesce(max(id), 0) + 1 FROM merchants), 'test')
		RETURNING id`).Scan(&merchantID); err != nil {
		t.Fatal(err)
	}
	putAccount(t, s, merchantID, "world", nil)
	for id, balance := range balances {
		var limit int64
		putAccount(t, s, merchantID, id, &limit)
		if balance > 0 {
			charge(t, s, merchantID, "funding "+id,
				Charge{Amount: usd(balance), SourceAccount: "world", DestinationAccount: id})
		}
	}
	return merchantID
}

func accountsOf(s *Service) *ledger.Accounts { return ledger.NewAccounts(s.pool) }

func putAccount(t testing.TB, s *Service, merchantID int64, id string, limit *int64) {
	t.Helper()
	ref := ledger.Ref{MerchantID: merchantID, AccountID: id}
	terms := ledger.Terms{Currency: "USD", Metadata: map[string]string{}, OverdraftLimit: limit}
	if _, _, err := accountsOf(s).
		Put(context.Background(), ref, terms, ledger.Unconditional); err != nil {
		t.Fatal(err)
	}
}

func callerWith(merchantID int64, key string) Caller {
	return Caller{Key: idempotency.Key{MerchantID: merchantID, Scope: idempotency.ScopeClient,
		Value: key}, RequestID: newID()}
}

// charge charges, and fails the test unless the charge is executed or replayed.
func charge(t testing.TB, s *Service, merchantID int64, key string, c Charge) Reply {
	t.Helper()
	reply, err := s.Charge(context.Background(), callerWith(merchantID, key), c)
	if err != nil {
		t.Fatalf("charging under %q: %v", key, err)
	}
	return reply
}

func balanceOf(t testing.TB, s *Service, merchantID int64, id string) int64 {
	t.Helper()
	account, err := accountsOf(s).
		Get(context.Background(), ledger.Ref{MerchantID: merchantID, AccountID: id})
	if err != nil {
		t.Fatal(err)
	}
	return account.Posted
}

// result is what a caller can see of an attempt, without ids and times.
func result(reply Reply, err error, own Caller) string {
	var refusal *Refusal
	var broken *validate.Error
	switch {
	case errors.As(err, &refusal):
		return "refused: " + string(refusal.Code)
	case errors.As(err, &broken):
		return "refused: " + string(CodeUnprocessable)
	case err != nil:
		return "error: " + err.Error()
	case reply.RequestID == own.RequestID:
		return fmt.Sprintf("%d", reply.Status)
	}
	return fmt.Sprintf("%d replayed", reply.Status)
}

func drawKey(t *rapid.T) string {
	return rapid.SampledFrom([]string{"k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8", "k9"}).
		Draw(t, "key")
}

func drawCharge(t *rapid.T) Charge {
	return Charge{
		Amount: usd(rapid.Int64Range(0, 12).Draw(t, "amount")),
		SourceAccount: rapid.SampledFrom([]string{"world", "a", "b", "nobody"}).
			Draw(t, "source"),
		DestinationAccount: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "destination"),
		Reference:          rapid.SampledFrom([]string{"", "", "r1", "r2"}).Draw(t, "reference"),
		AuthorizeOnly:      rapid.Bool().Draw(t, "authorize only"),
	}
}

// Every operation, in any order, under keys that are used again, on either of two
// instances: what is answered is what the model says, and the books are in order at the
// end of each run and now and then on its way. A thousand runs, in ten databases at
// once.
func TestTheEngineDoesWhatTheModelSays(t *testing.T) {
	t.Parallel()
	for part := range 10 {
		t.Run(fmt.Sprint("part ", part+1), func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			instances := []*Service{newService(t, db.URL), newService(t, db.URL)}
			// a hundred times
			rapid.Check(t, func(rt *rapid.T) { compareWithModel(t, rt, db, instances) })
		})
	}
}

func compareWithModel(t *testing.T, rt *rapid.T, db *pgtest.DB, instances []*Service) {
	merchantID := newMerchant(t, instances[0], map[string]int64{"a": 20, "b": 0})
	m := newModel(map[string]int64{"a": 20, "b": 0})
	for range rapid.IntRange(1, 30).Draw(rt, "requests") {
		s := rapid.SampledFrom(instances).Draw(rt, "instance")
		key := drawKey(rt)
		request := drawRequest(rt, m)
		caller := callerWith(merchantID, key)
		reply, err := request.send(context.Background(), s, caller)
		if got, want := result(reply, err, caller), m.answer(key, request,
			reply.PaymentID); got != want {
			rt.Fatalf("%s under %s: %s; the contract says %s", request, key, got, want)
		}
		if rapid.IntRange(0, 99).Draw(rt, "audit at 0") == 0 {
			wantBooksInOrder(rt, db)
		}
	}
	for _, id := range []string{"a", "b"} {
		account, err := accountsOf(instances[1]).
			Get(t.Context(), ledger.Ref{MerchantID: merchantID, AccountID: id})
		if err != nil {
			rt.Fatal(err)
		}
		if account.Posted != m.balances[id] || account.Held != m.held[id] {
			rt.Errorf("account %s is at %d with %d held; the contract says %d and %d",
				id, account.Posted, account.Held, m.balances[id], m.held[id])
		}
	}
	wantBooksInOrder(rt, db)
}

func wantBooksInOrder(t *rapid.T, db *pgtest.DB) {
	if violations, err := audit.Run(t.Context(), db.Pool, 10); err != nil || len(violations) > 0 {
		t.Errorf("the audit says %v, %v", violations, err)
	}
}

// verdict is what came of an operation that was committed.
func verdict(op *operation) string {
	if op.refusal != nil {
		return string(op.refusal.Code)
	}
	return fmt.Sprint(op.record.Answer.Status)
}

// Lock-order deadlocks: formance 767, cala 779 (BUGS 38).
func TestTransfersThatCrossNeverDeadlock(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	instances := []*Service{newService(t, db.URL), newService(t, db.URL)}
	merchantID := newMerchant(t, instances[0], map[string]int64{"a": 1000, "b": 1000, "c": 1000})
	pairs := [][2]string{{"a", "b"}, {"b", "a"}, {"c", "a"}, {"a", "c"}, {"b", "c"}, {"c", "b"}}
	var callers sync.WaitGroup
	for i := range 600 {
		callers.Go(func() {
			pair := pairs[i%len(pairs)]
			charge(t, instances[i%2], merchantID, fmt.Sprint("cross ", i), Charge{
				Amount: usd(1), SourceAccount: pair[0], DestinationAccount: pair[1],
				Reference: fmt.Sprint("ref ", i%300, i/300),
			})
		})
	}
	callers.Wait()
	for _, id := range []string{"a", "b", "c"} {
		if got := balanceOf(t, instances[0], merchantID, id); got != 1000 {
			t.Errorf("account %s is at %d", id, got)
		}
	}
	wantNoDeadlock(t, db, instances)
}

// The same of batches that change payments: what one locks first the other names last.
func TestBatchesOfRefundsAndChargesThatCrossNeverDeadlock(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	instances := []*Service{newService(t, db.URL), newService(t, db.URL)}
	merchantID := newMerchant(t, instances[0], map[string]int64{"a": 1000, "b": 1000, "c": 1000})
	var paid []uuid.UUID
	for i, pair := range [][2]string{{"a", "b"}, {"c", "a"}, {"b", "c"}} {
		c := Charge{Amount: usd(500), SourceAccount: pair[0], DestinationAccount: pair[1]}
		paid = append(paid,
			charge(t, instances[0], merchantID, fmt.Sprint("paid ", i), c).PaymentID)
	}
	var callers sync.WaitGroup
	for i := range 200 {
		callers.Go(func() {
			caller := func(what int) Caller {
				return callerWith(merchantID, fmt.Sprint("cross ", i, what))
			}
			batch := []*operation{newCharge(caller(len(paid)),
				Charge{Amount: usd(1), SourceAccount: "c", DestinationAccount: "b"})}
			for what, payment := range paid {
				batch = append(batch,
					newRefund(caller(what),
						RefundRequest{PaymentID: payment, Amount: new(int64(1))}))
			}
			if i/2%2 == 0 {
				slices.Reverse(batch)
			}
			if err := instances[i%2].transact(context.Background(), batch); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	for id, want := range map[string]int64{"a": 1000, "b": 1200, "c": 800} {
		if got := balanceOf(t, instances[0], merchantID, id); got != want {
			t.Errorf("account %s is at %d, want %d", id, got, want)
		}
	}
	wantNoDeadlock(t, db, instances)
}

// wantNoDeadlock checks that no transaction had to be broken off for the sake of
// another. The server's count may lag behind, so the instances, which would have run
// one again, are asked too.
func wantNoDeadlock(t *testing.T, db *pgtest.DB, instances []*Service) {
	t.Helper()
	var deadlocks, reruns int64
	if err := db.Pool.QueryRow(context.Background(),
		`SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`).
		Scan(&deadlocks); err != nil {
		t.Fatal(err)
	}
	for _, s := range instances {
		reruns += s.Stats().Transactions.RerunsAfterConflict
	}
	if deadlocks != 0 || reruns != 0 {
		t.Errorf("%d deadlocks by the server's count, %d reruns after a conflict by the "+
			"instances'", deadlocks, reruns)
	}
}

func TestOneKeySentAtOnceToTwoInstancesChargesOnce(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 10, 100, 1000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			instances := []*Service{newService(t, db.URL), newService(t, db.URL)}
			merchantID := newMerchant(t, instances[0], map[string]int64{"a": 1000, "b": 0})
			replies := make([]Reply, n)
			start := make(chan struct{})
			var callers sync.WaitGroup
			for i := range n {
				callers.Go(func() {
					<-start
					c := Charge{Amount: usd(7), SourceAccount: "a", DestinationAccount: "b"}
					replies[i] = charge(t, instances[i%2], merchantID, "k", c)
				})
			}
			close(start)
			callers.Wait()
			for _, reply := range replies {
				if string(reply.Body) != string(replies[0].Body) ||
					reply.RequestID != replies[0].RequestID {
					t.Fatalf("answers differ:\n%s\n%s", reply.Body, replies[0].Body)
				}
			}
			if got := balanceOf(t, instances[0], merchantID, "b"); got != 7 {
				t.Errorf("b got %d, want 7", got)
			}
		})
	}
}
