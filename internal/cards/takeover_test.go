package cards

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/payments"
)

// through is for an instance whose calls go through the gate, and may take long.
func through(g *gate) func(*config) {
	return func(c *config) { c.URL, c.Timeout = g.URL, patience }
}

// An instance stalls before, during or after a call, until its lease is over. Another one
// takes the attempt over and ends it. Then the first one wakes up, and its call arrives
// late. (killbill 810, 9178b21: recovery overwrote newer state with older data.)
func TestStalledInstanceChangesNothingAfterTakeover(t *testing.T) {
	for _, method := range []string{
		"pm_card_visa", "pm_card_chargeDeclined", "pm_card_authenticationRequired",
	} {
		for _, point := range []string{
			"create asked", "create answered", "confirm asked", "confirm answered",
			"cancel asked", "cancel answered",
		} {
			if method == "pm_card_visa" && strings.HasPrefix(point, "cancel") {
				continue // what succeeds is not canceled
			}
			t.Run(method+" "+point, func(t *testing.T) {
				tn := newTown(t)
				charge := charging(byCard(method))
				stallAndTakeOver(tn, point, "k", charge)
			})
		}
	}
}

// The same for the changes of a payment.
func TestStalledChangeIsMadeOnce(t *testing.T) {
	for _, point := range []string{
		"capture asked", "capture answered", "cancel asked", "cancel answered",
		"list asked", "refund asked", "refund answered",
	} {
		t.Run(point, func(t *testing.T) {
			tn := newTown(t)
			in := tn.instance()
			step, _, _ := strings.Cut(point, " ")
			switch step {
			case "capture":
				id := in.want(201, "k", authorizing("pm_card_visa")).PaymentID
				stallAndTakeOver(tn, point, "then", capturing(id, 400))
			case "cancel":
				id := in.want(201, "k", authorizing("pm_card_visa")).PaymentID
				stallAndTakeOver(tn, point, "then", canceling(id))
			default:
				id := in.want(201, "k", charging(byCard("pm_card_visa"))).PaymentID
				stallAndTakeOver(tn, point, "then", refunding(id, 300))
			}
		})
	}
}

func stallAndTakeOver(tn *town, point, key string, r request) {
	tn.t.Helper()
	g := newGate(tn.t, tn.processor)
	stalled, other := tn.instance(through(g)), tn.instance().recovering()
	reached, release := g.hold(point)
	defer release()

	var first payments.Reply
	var err error
	var caller sync.WaitGroup
	caller.Go(func() { first, err = stalled.send(key, r, patience) })
	<-reached
	tn.makeDue()
	second := other.finish(key, r)
	settled := tn.awaitState(other, key, StateSettled)
	caller.Wait() // the caller at the stalled instance learns of the end, too
	if err != nil || string(first.Body) != string(second.Body) {
		tn.t.Errorf("one caller got %s, %v, the other %s", first.Body, err, second.Body)
	}
	release()
	stalled.places.close() // its work is over
	again := tn.attempt(other, key)
	again.leaseEnd = settled.leaseEnd
	if *again != *settled {
		tn.t.Errorf("after the late call the attempt is %+v, before %+v", again, settled)
	}
}

// An intent that succeeded is not confirmed again. The next instance asks, and settles.
// (flexprice 2069, medusa 13301: the charge succeeded, the local write failed, and the
// workflow charged again.)
func TestRecoveryRetrievesFirst(t *testing.T) {
	for name, row := range map[string]struct {
		method, point string
		want          []string
	}{
		"succeeded": {"pm_card_visa", "confirm answered", []string{"retrieve"}},
		"declined": {
			"pm_card_chargeDeclined", "confirm answered",
			[]string{"retrieve", "cancel", "retrieve"},
		},
		"canceled":    {"pm_card_chargeDeclined", "cancel answered", []string{"retrieve"}},
		"unconfirmed": {"pm_card_visa", "confirm asked", []string{"retrieve", "confirm"}},
	} {
		t.Run(name, func(t *testing.T) {
			tn := newTown(t)
			dead, next := newGate(t, tn.processor), newGate(t, tn.processor)
			reached, release := dead.hold(row.point)
			defer release()
			stalled, other := tn.instance(through(dead)), tn.instance(through(next))
			charge := charging(byCard(row.method))
			_, err := stalled.send("k", charge, 0)
			if !inProgress(err) {
				t.Fatal(err)
			}
			<-reached
			tn.makeDue()
			if err := other.Recover(t.Context()); err != nil {
				t.Fatal(err)
			}
			tn.awaitState(other, "k", StateSettled)
			if got := next.steps(); !slices.Equal(got, row.want) {
				t.Errorf("the next instance asked for %v, want %v", got, row.want)
			}
		})
	}
}

// What a late instance writes has no effect: its fencing token is old.
func TestLateWritesAreFenced(t *testing.T) {
	tn := newTown(t)
	in := tn.instance()
	_ = in.begin("k", charging(byCard("pm_card_visa")))
	tn.makeDue()
	late := lease(tn, in)
	tn.makeDue()
	current := lease(tn, in)
	before := tn.attempt(in, "k")
	late.IntentID, late.Generation, late.DeclineCode = "pi_late", 7, "card_declined"
	for name, write := range map[string]func() error{
		"commit":  func() error { return in.commit(t.Context(), late) },
		"release": func() error { return in.release(t.Context(), late, time.Hour, "late") },
		"review":  func() error { return in.review(t.Context(), late, "late") },
		"settle": func() error {
			return in.settle(t.Context(), late, action{
				settle: payments.StatusDeclined, decline: "card_declined",
			})
		},
	} {
		if err := write(); err != payments.ErrFenced { //nolint:errorlint // never wrapped
			t.Errorf("%s: %v, want that it is fenced", name, err)
		}
	}
	after := tn.attempt(in, "k")
	after.leaseEnd = before.leaseEnd
	if *after != *before {
		t.Errorf("the attempt was %+v, and is %+v", before, after)
	}
	in.work(t.Context(), current, false)
	tn.awaitState(in, "k", StateSettled)
}

// lease takes the one due attempt.
func lease(tn *town, in *instance) *Attempt {
	tn.t.Helper()
	leased, err := in.lease(tn.t.Context(), 10, []int64{})
	if err != nil || len(leased) != 1 {
		tn.t.Fatalf("leased %v, %v", leased, err)
	}
	return leased[0]
}
