package cards

import (
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/service"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

const (
	clients = 96

	// latencyMS keeps a call at the processor for longer than a process takes to die.
	latencyMS = 40
	// lostAnswers is the part of all answers that get lost. Refunds are listed only after
	// such a loss, so the load would have too few lists.
	lostAnswers = 0.05
)

// moment is when an instance is killed.
type moment string

const (
	before   moment = "before the processor has the call"
	during   moment = "while the call is at the processor"
	after    moment = "when the answer is on its way, and lost"
	answered moment = "when it has just got the answer"
)

// spot is one place for a kill.
type spot struct {
	step   simulator.Step
	moment moment
}

// spots are each moment of each step.
func spots(steps ...simulator.Step) (all []spot) {
	for _, step := range steps {
		for _, moment := range []moment{before, during, after, answered} {
			all = append(all, spot{step, moment})
		}
	}
	return all
}

// kill is one that was done. It may be at another moment than planned: the processor was
// quicker.
type kill struct {
	spot
	victim *member
}

func TestCardIsChargedOnceWhenInstancesAreKilledAtEachStep(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, nil)
	b.passEvents()
	b.fail()
	load := journal.NewCardJournal(b.merchant, b.pick)
	stop := load.Load(t, clients)
	load.AwaitAnswers(t, clients)
	b.killAtEachStep(kills())
	stop()
	b.proxy.on(nil)
	for i := range b.members {
		b.instance(i).AwaitReady(patience)
	}
	b.awaitSettled(settledTime)
	load.Converge(t)
	load.Judge(t, b.db.URL)
	b.judgeBooks()
}

// kills are the places at which instances are killed, and how often. A program with the
// race detector takes seconds to start, so it is killed less often.
func kills() (places []spot, n int) {
	all := spots(simulator.StepCreate, simulator.StepConfirm, simulator.StepCapture,
		simulator.StepCancel, simulator.StepRefund, simulator.StepRetrieve, simulator.StepList)
	switch {
	case long():
		return all, 200
	case service.RaceDetector:
		few := spots(simulator.StepConfirm)
		return few, len(few)
	}
	return all, 40
}

// fail makes each call take a while at the processor, and some answers get lost. So do
// half of the events; others come twice or out of order.
func (b *bench) fail() {
	b.Helper()
	faults := simulator.Faults{
		Steps:  map[simulator.Step]simulator.StepFaults{},
		Events: simulator.EventFaults{Duplicate: 0.2, Lose: 0.5, Shuffle: true},
	}
	for _, step := range []simulator.Step{
		simulator.StepCreate, simulator.StepConfirm, simulator.StepCapture, simulator.StepCancel,
		simulator.StepRefund, simulator.StepRetrieve, simulator.StepList,
	} {
		faults.Steps[step] = simulator.StepFaults{
			LatencyMS: latencyMS, After: simulator.After{Reset: lostAnswers},
		}
	}
	b.must(b.processor.SetFaults(b.Context(), faults))
	b.must(b.processor.SetWebhookURL(b.Context(), b.events+"/processor-events/stripe"))
}

// passEvents starts a server that passes the processor's events on to any instance.
func (b *bench) passEvents() {
	b.Helper()
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			target, err := url.Parse(b.pick())
			if err != nil {
				b.Error(err)
				return
			}
			r.SetURL(target)
		},
		ErrorLog: log.New(io.Discard, "", 0), // half of the time an instance is dead
	})
	b.Cleanup(server.Close)
	b.events = server.URL
}

// killAtEachStep kills instances at least n times, until each of the places had its kill.
// Now and then it kills the processor.
func (b *bench) killAtEachStep(places []spot, n int) {
	b.Helper()
	var planned []spot
	done := map[spot]int{}
	// Some kills come at another moment than planned, so there may be more than n.
	for i := 0; i < n || len(done) < len(places); i++ {
		if len(planned) == 0 {
			planned = slices.Clone(places)
		}
		killed := b.killAt(planned)
		if slices.Contains(places, killed.spot) {
			done[killed.spot]++
		}
		if i := slices.Index(planned, killed.spot); i >= 0 {
			planned = slices.Delete(planned, i, i+1)
		}
		b.restart(killed.victim)
		if i%(n/4) == n/8 {
			b.killProcessor()
		}
	}
	for spot, times := range done {
		b.Logf("%d kills at %s, %s", times, spot.step, spot.moment)
	}
}

// killAt kills the instance that makes the next call for which a kill is planned.
func (b *bench) killAt(planned []spot) kill {
	b.Helper()
	places := map[simulator.Step][]moment{}
	for _, spot := range planned {
		places[spot.step] = append(places[spot.step], spot.moment)
	}
	done := make(chan kill, 1)
	taken := false
	b.proxy.on(func(x *exchange) func(*exchange) {
		moments := places[x.step]
		if taken || len(moments) == 0 {
			return nil
		}
		taken = true
		return func(x *exchange) { x.killAt(moments[rand.IntN(len(moments))], done) }
	})
	var killed kill
	await.Until(b, patience, fmt.Sprintf("a call at one of %v", places), func() bool {
		select {
		case killed = <-done:
			return true
		default:
			return false
		}
	})
	return killed
}

// killAt kills the instance of this exchange. The processor does not notice.
func (x *exchange) killAt(m moment, done chan<- kill) {
	if m == before {
		x.member.Kill()
		done <- kill{spot{x.step, m}, x.member}
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(x.r.Context()))
	defer cancel()
	sent, answer := make(chan struct{}), make(chan *reply, 1)
	go func() { answer <- x.forward(ctx, sync.OnceFunc(func() { close(sent) })) }()
	<-sent
	var got *reply
	if m != during {
		got = soon(answer)
	}
	if m == answered && got != nil {
		x.answer(got)
	}
	x.member.Kill()
	select {
	case <-answer: // it was quicker than the kill
		m = after
	default:
		if got == nil { // some faults hold the answer
			m = during
		}
	}
	if m == during {
		soon(answer)
	}
	done <- kill{spot{x.step, m}, x.member}
}

// soon waits for an answer, and not for one that the processor holds.
func soon(answer <-chan *reply) *reply {
	select {
	case a := <-answer:
		return a
	case <-time.After(callTimeout / 2):
		return nil
	}
}

// killProcessor kills the processor while calls are under way, and starts it again.
func (b *bench) killProcessor() {
	b.Helper()
	b.proxy.on(nil)
	await.Until(b, patience, "calls are under way", func() bool {
		return b.proxy.underWay.Load() > 0
	})
	b.must(b.processor.Kill(b.Context()))
	b.must(b.processor.Restart(b.Context()))
	b.fail()
}
