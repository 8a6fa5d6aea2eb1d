package payments

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// No statement can lock rows of two merchants in sharded mode.
func TestShardedBatchHasOneMerchant(t *testing.T) {
	t.Parallel()
	type merchant struct{}
	var batches []map[any]bool // the merchants of each; one worker makes them all
	shared := 0                // batches with more than one charge
	s := newLoneWorker(t, pgtest.New(t).URL, func(c *Config) {
		c.Sharded = true
		c.Trace = func(
			ctx context.Context, requests []context.Context,
		) (context.Context, func(error)) {
			merchants := map[any]bool{}
			for _, request := range requests {
				merchants[request.Value(merchant{})] = true
			}
			batches = append(batches, merchants)
			if len(requests) > 1 {
				shared++
			}
			return ctx, func(error) {}
		}
	})
	var charging sync.WaitGroup
	for range 3 {
		id := newMerchant(t, s, map[string]int64{"alice": 1000, "shop": 0})
		ctx := context.WithValue(t.Context(), merchant{}, id)
		for i := range 100 {
			charging.Go(func() {
				_, err := s.Charge(ctx, callerWith(id, fmt.Sprint("k", i)), Charge{
					SourceAccount: "alice", DestinationAccount: "shop",
					Amount: ledger.Money{Minor: 1, Currency: "USD"},
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	charging.Wait()
	s.group.Close()
	for _, merchants := range batches {
		if len(merchants) != 1 {
			t.Errorf("a batch has the merchants %v", merchants)
		}
	}
	if shared == 0 {
		t.Errorf("none of %d batches has two charges, so this shows nothing", len(batches))
	}
}

// One merchant has a thousand callers, each of whom charges without a pause. Another one's
// charges pass that queue, because the merchants take turns.
func TestBusyMerchantDelaysNoOther(t *testing.T) {
	t.Parallel()
	s := newServiceWithPool(t, postgres.Options{
		URL: pgtest.New(t).URL, GeneralSize: 4, MoneySize: 2,
	}, func(c *Config) { c.Sharded = true })
	charging := func(merchantID int64, key string) time.Duration {
		began := time.Now()
		charge(t, s, merchantID, key, Charge{
			SourceAccount: "alice", DestinationAccount: "shop",
			Amount: ledger.Money{Minor: 1, Currency: "USD"},
		})
		return time.Since(began)
	}
	balances := map[string]int64{"alice": 1_000_000, "shop": 0}
	busy, quiet := newMerchant(t, s, balances), newMerchant(t, s, balances)
	ctx, stop := context.WithCancel(t.Context())
	const callers = 1000
	var running sync.WaitGroup
	var mu sync.Mutex
	var busyTook []time.Duration
	for i := range callers {
		running.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				took := charging(busy, fmt.Sprint(i, " ", n))
				mu.Lock()
				busyTook = append(busyTook, took)
				mu.Unlock()
			}
		})
	}
	await.Until(t, time.Minute, "the queue is full", func() bool {
		return s.group.Waiting() > callers/4
	})
	var quietTook []time.Duration
	for n := range 50 {
		quietTook = append(quietTook, charging(quiet, fmt.Sprint(n)))
	}
	stop()
	running.Wait()
	slices.Sort(busyTook)
	slices.Sort(quietTook)
	usual, quietUsual := busyTook[len(busyTook)/2], quietTook[len(quietTook)/2]
	t.Logf("a charge of the busy merchant took %v, of the quiet one %v, at most %v", usual,
		quietUsual, quietTook[len(quietTook)-1])
	if quietUsual > usual/2 {
		t.Errorf("a charge of the quiet merchant took %v, of the busy one %v", quietUsual, usual)
	}
}
