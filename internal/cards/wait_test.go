package cards

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/lab/await"
)

// Callers at two instances wait for one charge. They all get its bytes.
func TestDuplicatesWaitForTheFirst(t *testing.T) {
	tn := newTown(t)
	g := newGate(t, tn.processor)
	instances := []*instance{tn.instance(through(g)), tn.instance(through(g))}
	reached, release := g.hold("confirm answered")
	defer release()
	const callers = 20
	answers := make(chan payments.Reply, callers)
	for i := range callers {
		go func() {
			in := instances[i%2]
			reply, err := in.send("k", charging(byCard("pm_card_visa")), time.Hour)
			if err != nil {
				t.Error(err)
			}
			answers <- reply
		}()
	}
	<-reached
	await.Until(t, patience, "all callers wait", func() bool {
		return instances[0].waits.count()+instances[1].waits.count() == callers
	})
	release()
	await.Until(t, patience, "all callers are answered", func() bool {
		return len(answers) == callers
	})
	first := <-answers
	for range callers - 1 {
		if other := <-answers; string(other.Body) != string(first.Body) ||
			other.Status != first.Status || other.Location != first.Location {
			t.Errorf("one caller got %+v, another %+v", first, other)
		}
	}
	if first.Status != 201 || strings.Join(g.steps(), " ") != "create confirm" {
		t.Errorf("%d after %v", first.Status, g.steps())
	}
}

// count is the number of callers.
func (w *waits) count() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, waited := range w.waited {
		n += waited.callers
	}
	return n
}

// The first caller and a duplicate are told alike when their wait is over.
func TestWaitEndsWithKeyInProgress(t *testing.T) {
	tn := newTown(t)
	g := newGate(t, tn.processor)
	first, second := tn.instance(through(g)), tn.instance(through(g))
	_, release := g.hold("confirm asked")
	defer release()
	charge := charging(byCard("pm_card_visa"))
	for _, limit := range []time.Duration{0, 50 * time.Millisecond} {
		for _, in := range []*instance{first, second} {
			_, err := in.send("k", charge, limit)
			wantRefusal(t, err, payments.CodeKeyInProgress)
		}
	}
	other := charging(byCard("pm_card_mastercard"))
	_, err := second.send("k", other, patience)
	wantRefusal(t, err, payments.CodeKeyReused)
	release()
	second.want(201, "k", charge)
}

// Callers of one instance wait for many keys. It polls for all of them in one statement.
func TestOnePollLooksAtAllKeys(t *testing.T) {
	const keys = 30
	tn := newTown(t)
	g := newGate(t, tn.processor)
	_, release := g.hold("create asked")
	defer release()
	var polls polls
	asking := tn.instance(through(g))
	polling := tn.instance(func(c *config) { c.tracer = &polls })
	var waiting sync.WaitGroup
	for i := range keys {
		key, charge := fmt.Sprint("k", i), charging(byCard("pm_card_visa"))
		if _, err := asking.send(key, charge, 0); !inProgress(err) {
			t.Fatal(err)
		}
		waiting.Go(func() {
			if _, err := polling.send(key, charge, patience); err != nil {
				t.Error(err)
			}
		})
	}
	await.Until(t, patience, "a poll of all keys", func() bool { return polls.Load() == keys })
	release()
	waiting.Wait()
	await.Until(t, patience, "the end of the polls", func() bool {
		polling.waits.mu.Lock()
		defer polling.waits.mu.Unlock()
		return !polling.waits.polling
	})
}

// polls is the number of keys of the latest poll.
type polls struct{ atomic.Int64 }

func (p *polls) TraceQueryStart(
	ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData,
) context.Context {
	if len(data.Args) == 3 && strings.Contains(data.SQL, "AND a.state = 'settled'") {
		merchantIDs, _ := data.Args[0].([]int64)
		p.Store(int64(len(merchantIDs)))
	}
	return ctx
}

func (*polls) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// A caller goes away while it waits, or before that. Its charge completes, and nothing else
// has to recover it.
func TestChargeCompletesWithoutItsCaller(t *testing.T) {
	tn := newTown(t)
	in := tn.instance()
	for _, key := range []string{"gone before the call", "gone meanwhile"} {
		ctx, leave := context.WithCancel(t.Context())
		caller := callerWith(key)
		do := func() (payments.Reply, error) {
			return in.payments.Charge(ctx, caller, byCard("pm_sim_slow"))
		}
		_, err := do()
		pending, ok := errors.AsType[*payments.InProgress](err)
		if !ok {
			t.Fatal(err)
		}
		if key == "gone before the call" {
			leave()
		}
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if reply, err := in.Await(ctx, pending, patience, do); err == nil {
				t.Errorf("%s: an answer for nobody: %+v", key, reply)
			}
		})
		await.Until(t, patience, "the call", func() bool {
			return tn.attempt(in, key).IntentID != ""
		})
		leave()
		waiting.Wait()
		tn.awaitState(in, key, StateSettled)
		in.want(201, key, charging(byCard("pm_sim_slow")))
	}
}

// Calls that hang hold no connection to the database, so one is enough for all.
func TestCallHoldsNoConnection(t *testing.T) {
	tn := newTown(t)
	g := newGate(t, tn.processor)
	in := tn.instance(through(g), func(c *config) { c.generalSize, c.moneySize = 1, 1 })
	_, release := g.hold("confirm asked")
	defer release()
	const calls = 20
	for i := range calls {
		if _, err := in.send(fmt.Sprint("k", i), charging(byCard("pm_card_visa")),
			0); !inProgress(err) {
			t.Fatal(err)
		}
	}
	await.Until(t, patience, "all calls hang", func() bool {
		return strings.Count(strings.Join(g.steps(), " "), "confirm") == calls
	})
	await.Until(t, patience, "no connection is in use", func() bool {
		return in.pools.General.Stat().AcquiredConns() == 0 &&
			in.pools.Money.Stat().AcquiredConns() == 0
	})
	var open int
	if err := in.pool.QueryRow(t.Context(), `
		SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND state LIKE 'idle in transaction%'`).
		Scan(&open); err != nil || open > 0 {
		t.Errorf("%d transactions are open, %v", open, err)
	}
	if _, err := in.payments.Get(t.Context(), merchantID,
		tn.attempt(in, "k0").PaymentID); err != nil {
		t.Error(err)
	}
	release()
	for i := range calls {
		in.want(201, fmt.Sprint("k", i), charging(byCard("pm_card_visa")))
	}
}
