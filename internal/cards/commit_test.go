package cards

import (
	"cmp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// When a call comes to the processor, its attempt, its intent and the generation of its key
// are committed, and the lease outlasts the call.
func TestCallComesAfterWhatItDependsOnIsCommitted(t *testing.T) {
	tn := newTown(t)
	g := newGate(t, tn.processor)
	in := tn.instance(func(c *config) { c.URL = g.URL }).recovering()
	names := map[string]string{"create": stepPrepare}
	g.look = func(step, key string) {
		leased, err := collectAttempts(t.Context(), in.pool, `
			SELECT `+attemptColumns+`
			FROM processor_attempts a`+paymentOfAttempt+`
			WHERE a.state = 'open' AND a.due_at > clock_timestamp() + $2`, nil, in.timeout)
		if err != nil {
			t.Error(err)
		}
		if key == "" && len(leased) > 0 || slices.ContainsFunc(leased, func(a *Attempt) bool {
			return in.key(a, cmp.Or(names[step], step)) == key &&
				(step == "create") == (a.IntentID == "")
		}) {
			return
		}
		t.Errorf("%s is asked for under the key %s, but what is committed is %+v", step, key,
			leased)
	}
	var charges sync.WaitGroup
	for _, method := range []string{
		"pm_card_visa", "pm_card_chargeDeclined", "pm_sim_500_before_charge", "pm_sim_garbage",
	} {
		charges.Go(func() { in.finish(method, charging(byCard(method))) })
	}
	charges.Wait()
	in.want(201, "back", refunding(tn.attempt(in, "pm_card_visa").PaymentID, 100))
	if keys := g.keys("confirm"); len(keys) != 5 {
		t.Errorf("4 payments were confirmed under %d keys, want one more after a stored 500",
			len(keys))
	}
}

// A lease that is nearly over is renewed before the next call.
func TestLeaseIsRenewedBeforeItsCall(t *testing.T) {
	tn := newTown(t)
	g := newGate(t, tn.processor)
	in := tn.instance(func(c *config) { c.URL, c.Timeout = g.URL, 2*time.Second })
	in.leaseTime = in.timeout + time.Second
	g.look = func(step, _ string) {
		var left time.Duration
		err := in.pool.QueryRow(t.Context(), `
			SELECT due_at - clock_timestamp() FROM processor_attempts WHERE state = 'open'`).
			Scan(&left)
		if err != nil || left < in.timeout {
			t.Errorf("the lease ends %v after the call for %s has begun, %v", left, step, err)
		}
	}
	tn.setFaults(map[simulator.Step]simulator.StepFaults{
		simulator.StepList: {LatencyMS: 1500},
	})
	late := func(key string, r request) payments.Reply {
		begun := in.begin(key, r)
		tn.makeDue() // as after a pause
		if err := in.startFresh(t.Context(), begun); err != nil {
			t.Fatal(err)
		}
		return in.want(201, key, r)
	}
	paid := late("k", charging(byCard("pm_card_visa"))).PaymentID
	late("back", refunding(paid, 100))
}
