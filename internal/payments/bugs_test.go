package payments

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// What has gone wrong in other services and has no better place here.

// A second connection inside a transaction starves the pool: rafiki 3320 (BUGS 40).
func TestOneConnectionOfEachKindIsEnoughForEverybody(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	merchantID := newMerchant(t, newService(t, db.URL), map[string]int64{"a": 1000, "b": 0})
	pools, err := postgres.Open(context.Background(),
		postgres.Options{URL: db.URL, GeneralSize: 1, MoneySize: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{
		Pools: pools, Retention: time.Hour, AuthorizationLifetime: time.Hour, Workers: 1,
		BatchSizeMax: 8,
		QueueSizeMax: 1000, Timeout: 10 * time.Second, Logger: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(func() {
		s.Close()
		pools.Close()
	})
	var callers sync.WaitGroup
	for i := range 100 {
		callers.Go(func() {
			key := fmt.Sprint("k", i)
			path := charge(t, s, merchantID, key,
				Charge{Amount: usd(3), SourceAccount: "a", DestinationAccount: "b"}).PaymentID
			if _, err := s.Refund(t.Context(), callerWith(merchantID, "back "+key),
				RefundRequest{PaymentID: path}); err != nil {
				t.Error(err)
			}
			if _, err := s.Get(t.Context(), merchantID, path); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if got := balanceOf(t, s, merchantID, "a"); got != 1000 {
		t.Errorf("a is at %d, want 1000", got)
	}
}

// A new account, or one at zero, was not locked, and paid twice: formance 994a437 (BUGS
// 37).
func TestWhatANewAccountGetsIsSpentOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db.URL)
	merchantID := newMerchant(t, s, map[string]int64{"b": 0})
	for i := range 10 {
		var none int64
		fresh := fmt.Sprint("fresh", i)
		putAccount(t, s, merchantID, fresh, &none)
		counts := race(t, db, merchantID, fresh, 9, func(n int) request {
			if n == 4 {
				in := Charge{Amount: usd(5), SourceAccount: "world", DestinationAccount: fresh}
				return request{operation: operationCharge, charge: in}
			}
			out := Charge{Amount: usd(5), SourceAccount: fresh, DestinationAccount: "b"}
			return request{operation: operationCharge, charge: out}
		})
		if counts["201"] > 2 || counts["201"]+counts["402"] != 9 {
			t.Errorf("came to %v: one may pay in and one out", counts)
		}
	}
}
