package wire_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/lab/wire"
)

// TestUnderManyFaultsNothingAcknowledgedIsMissing has a pool meet faults of all kinds
// at once. It is also what shows the race detector the proxy's goroutines.
func TestUnderManyFaultsNothingAcknowledgedIsMissing(t *testing.T) {
	b := newBench(t)
	effects := []wire.Effect{
		wire.DropBefore, wire.LoseReply, wire.CutBeforeReady, wire.CutAfter,
		wire.FailWith("40001"), wire.FatalBefore("57P01"),
		wire.FatalAfter("57P01"), wire.RollBackInstead, wire.SyncRepCancelled,
	}
	for i, effect := range effects {
		b.proxy.On(wire.Commit().Nth(10*(i+1)), effect)
		if effect != wire.RollBackInstead {
			b.proxy.On(wire.Statement("INSERT INTO wire_rows").Nth(10*(i+1)+5), effect)
		}
	}
	pool, err := pgxpool.New(b.ctx, b.proxy.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	const workers, each = 4, 50
	acked := make([][]int, workers)
	var wait sync.WaitGroup
	for worker := range workers {
		wait.Go(func() { acked[worker] = b.charge(pool, worker*each, each) })
	}
	wait.Wait()
	b.proxy.WaitBackendsGone(t)
	total := 0
	for _, ids := range acked {
		total += len(ids)
		for _, id := range ids {
			b.wantStored(id, true)
		}
	}
	if total == workers*each {
		t.Error("no fault was felt")
	}
}

// charge runs that many transactions, each in the next shape, and returns the ids of
// those that succeeded.
func (b *bench) charge(pool *pgxpool.Pool, first, count int) (acked []int) {
	for id := first; id < first+count; id++ {
		conn, err := pool.Acquire(b.ctx)
		if err != nil {
			b.t.Error(fmt.Errorf("acquiring: %w", err))
			return acked
		}
		if err := shapes[id%len(shapes)].run(b.ctx, conn.Conn(), id); err == nil {
			acked = append(acked, id)
		}
		conn.Release()
	}
	return acked
}
