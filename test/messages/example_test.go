package messages

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/service"
)

// points are those that examples/consumer has given.
func (b *bench) points() (n int) {
	b.Helper()
	err := b.db.Pool.QueryRow(b.Context(), `
		SELECT coalesce(sum(points), 0) FROM consumer.points`).Scan(&n)
	if err != nil {
		return -1 // the consumer has not made its tables yet
	}
	return n
}

// A consumer is killed while its transaction is open, and one after its COMMIT and
// before its acknowledgement. Each event has its effect once.
func TestConsumerThatIsKilledHandlesEachEventOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	charge := func(n int, round string) {
		for i := range n {
			answer := b.merchant.Charge(t.Context(), b.instance(0).URL(),
				fmt.Sprint(round, i), journal.NewCharge(100)) // one point
			if answer.Class() != journal.Ack {
				t.Fatalf("a charge: %v", answer)
			}
		}
	}
	awaitPoints := func(n int) {
		t.Helper()
		await.Until(t, patience, fmt.Sprintf("%d points", n), func() bool {
			return b.points() >= n
		})
	}
	first := service.LaunchConsumer(t, b.db.URL, b.broker.URL())
	charge(5, "before")
	awaitPoints(5)

	// The effect waits for a lock, in the middle of the transaction. This lock takes
	// no transaction id, which would hold the feed back.
	tx, err := b.db.Pool.Begin(t.Context())
	b.must(err)
	defer tx.Rollback(t.Context())
	_, err = tx.Exec(t.Context(), `LOCK TABLE consumer.points IN EXCLUSIVE MODE`)
	b.must(err)
	charge(20, "held")
	b.awaitHeld(1)
	first.Kill()
	second := service.LaunchConsumer(t, b.db.URL, b.broker.URL())
	b.awaitHeld(2) // Postgres has not noticed yet that the first is dead

	// The COMMIT succeeds and its acknowledgement is lost: the broker is dead.
	b.must(b.broker.Kill(t.Context()))
	b.must(tx.Rollback(t.Context()))
	awaitPoints(6)
	second.Kill()
	b.must(b.broker.Restart(t.Context()))

	service.LaunchConsumer(t, b.db.URL, b.broker.URL())
	service.LaunchConsumer(t, b.db.URL, b.broker.URL())
	charge(5, "after")
	awaitPoints(30)
	await.Until(t, 2*patience, "every delivery is acknowledged", func() bool {
		consumer, err := b.js.Consumer(t.Context(), events, "points")
		return err == nil && delivered(consumer)
	})
	if got := b.points(); got != 30 {
		t.Errorf("30 payments of one point have %d points", got)
	}
}

// delivered tells whether a consumer has no message to come, and none to acknowledge.
func delivered(consumer jetstream.Consumer) bool {
	info := consumer.CachedInfo()
	return info.NumPending == 0 && info.NumAckPending == 0
}
