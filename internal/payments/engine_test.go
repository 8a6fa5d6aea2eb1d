package payments

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

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
	return newServiceWithPool(t, postgres.Options{URL: url, GeneralSize: 4, MoneySize: 2})
}

// newServiceWithPool has a worker for each money connection. The edits change its
// configuration.
func newServiceWithPool(
	t testing.TB, options postgres.Options, edits ...func(*Config),
) *Service {
	t.Helper()
	pools, err := postgres.Open(context.Background(), options)
	if err != nil {
		t.Fatal(err)
	}
	config := Config{
		Pools: pools, Retention: time.Hour, AuthorizationLifetime: time.Hour,
		Workers: options.MoneySize, BatchSizeMax: 512, QueueSizeMax: 10_000,
		Timeout: 10 * time.Second, Logger: slog.New(slog.DiscardHandler),
		AttemptLease: time.Minute, CheckCard: func(ledger.Money) error { return nil },
		Sharded: pgtest.Sharded(),
	}
	for _, edit := range edits {
		edit(&config)
	}
	s := New(config)
	t.Cleanup(func() {
		s.Close()
		pools.Close()
	})
	return s
}

// newLoneWorker is an instance with one worker and one connection for money.
func newLoneWorker(t testing.TB, url string, edits ...func(*Config)) *Service {
	t.Helper()
	options := postgres.Options{URL: url, GeneralSize: 4, MoneySize: 1}
	return newServiceWithPool(t, options, edits...)
}

// newMerchant makes a merchant with an unlimited account "world", and accounts with the
// given balances.
func newMerchant(t testing.TB, s *Service, balances map[string]int64) (merchantID int64) {
	t.Helper()
	ctx := context.Background()
	if err := s.pool.QueryRow(ctx, `
		INSERT INTO merchants (id, name)
		SELECT coalesce(max(id), 0) + 1, 'test' FROM merchants
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
	return Caller{Key: idempotency.Key{
		MerchantID: merchantID, Scope: idempotency.ScopeClient,
		Value: key,
	}, RequestID: newID()}
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

// account reads an account as a caller would.
func account(t testing.TB, s *Service, merchantID int64, id string) ledger.Account {
	t.Helper()
	ref := ledger.Ref{MerchantID: merchantID, AccountID: id}
	account, err := accountsOf(s).Get(context.Background(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return account
}

func balanceOf(t testing.TB, s *Service, merchantID int64, id string) int64 {
	t.Helper()
	return account(t, s, merchantID, id).Posted
}

// result is what a caller can see of an attempt, without ids and times.
func result(reply Reply, err error, own Caller) string {
	var refusal *Refusal
	var broken *validate.Error
	var pending *InProgress
	switch {
	case errors.As(err, &pending) && pending.Begun:
		return begun
	case errors.As(err, &pending):
		return inProgress
	case errors.Is(err, ErrFenced), errors.Is(err, ErrSettled):
		return err.Error()
	case errors.Is(err, ErrNotSettled):
		return ErrNotSettled.Error()
	case errors.As(err, &refusal):
		return "refused: " + string(refusal.Code)
	case errors.As(err, &broken):
		return "refused: " + string(CodeUnprocessable)
	case err != nil:
		return "error: " + err.Error()
	case reply.Status == 0:
		return settled
	case reply.RequestID == own.RequestID:
		return fmt.Sprintf("%d", reply.Status)
	}
	return fmt.Sprintf("%d replayed", reply.Status)
}

// Results of card payments.
const (
	begun      = "begun"       // this request is at the processor now
	inProgress = "in progress" // an earlier request under its key is there
	settled    = "settled"     // the result is in the books, by this call or before
)

// again is the result of the same operation under the same key.
func again(first string) string {
	switch first {
	case begun:
		return inProgress
	case settled:
		return settled
	}
	return first + " replayed"
}

func drawKey(t *rapid.T) string {
	return rapid.SampledFrom([]string{"k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8", "k9"}).
		Draw(t, "key")
}

func drawCharge(t *rapid.T) Charge {
	const card = "card"
	c := Charge{
		Amount: usd(rapid.Int64Range(0, 12).Draw(t, "amount")),
		SourceAccount: rapid.SampledFrom([]string{"world", "a", "b", "nobody", card, card}).
			Draw(t, "source"),
		DestinationAccount: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "destination"),
		Reference:          rapid.SampledFrom([]string{"", "", "r1", "r2"}).Draw(t, "reference"),
		AuthorizeOnly:      rapid.Bool().Draw(t, "authorize only"),
	}
	if c.SourceAccount == card {
		c.SourceAccount, c.PaymentMethod = "", "pm_card_visa"
	}
	return c
}

// A run sends any operations in any order, under keys that are used again, to either of
// two instances. Every answer is that of the model, and the audit finds nothing. There
// are three hundred runs, at a hundred for each database.
func TestEngineFollowsTheModel(t *testing.T) {
	t.Parallel()
	for part := range 3 {
		t.Run(fmt.Sprint("part ", part+1), func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			instances := []*Service{newService(t, db.URL), newService(t, db.URL)}
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
		got, want := result(reply, err, caller), m.answer(key, request, reply.PaymentID)
		if got != want {
			rt.Fatalf("%s under %s: %s; the contract says %s", request, key, got, want)
		}
		if rapid.IntRange(0, 99).Draw(rt, "audit at 0") == 0 {
			wantBooksInOrder(rt, db)
		}
	}
	for _, id := range []string{"a", "b"} {
		account := account(t, instances[1], merchantID, id)
		if account.Posted != m.balances[id] || account.Held != m.held[id] {
			rt.Errorf("account %s is at %d with %d held; the contract says %d and %d",
				id, account.Posted, account.Held, m.balances[id], m.held[id])
		}
	}
}

func wantBooksInOrder(t *rapid.T, db *pgtest.DB) {
	if violations, err := audit.Run(t.Context(), db.Pool, 10); err != nil || len(violations) > 0 {
		t.Errorf("the audit says %v, %v", violations, err)
	}
}

// A transaction that takes a second connection starves a small pool (docs/bugs.md,
// "second connection").
func TestOneConnectionOfEachKindIsEnough(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newServiceWithPool(t, postgres.Options{URL: db.URL, GeneralSize: 1, MoneySize: 1},
		func(c *Config) { c.BatchSizeMax = 8 })
	merchantID := newMerchant(t, s, map[string]int64{"a": 1000, "b": 0})
	var callers sync.WaitGroup
	for i := range 100 {
		callers.Go(func() {
			key := fmt.Sprint("k", i)
			id := charge(t, s, merchantID, key, sevenCents).PaymentID
			refund := RefundRequest{PaymentID: id}
			_, err := s.Refund(t.Context(), callerWith(merchantID, "back "+key), refund)
			if _, readErr := s.Get(t.Context(), merchantID, id); err != nil || readErr != nil {
				t.Error(err, readErr)
			}
		})
	}
	callers.Wait()
	if got := balanceOf(t, s, merchantID, "a"); got != 1000 {
		t.Errorf("a has %d, want 1000", got)
	}
}
