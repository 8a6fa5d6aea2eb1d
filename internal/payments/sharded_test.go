package payments

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
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
