package cards

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
)

const (
	hangingCalls = 500
	roundTime    = 2 * time.Second
	calmTime     = time.Second // before each round

	accountInterval = 10 * time.Millisecond
	cardInterval    = 50 * time.Millisecond
	retryInterval   = 100 * time.Millisecond // of the callers whose calls hang
	healthInterval  = 100 * time.Millisecond
)

// Hundreds of calls of one merchant hang at the processor, for longer than a round. Some of
// their callers ask again now and then, and wait for a second.
//
// Rounds with and without hanging calls alternate, so that both meet the same machine. The
// test is not parallel: it measures.
func TestHangingCallsHarmNoOtherPayment(t *testing.T) {
	b := newBench(t, 1, nil, "PROCESSOR_TIMEOUT=40s")
	other := journal.NewMerchant(t, b.instance(0), b.db.URL)
	// A short run on a busy machine cannot tell a few milliseconds from a few more.
	rounds, atLeast := 2, 100*time.Millisecond
	if long() {
		rounds, atLeast = 8, 0
	}
	var quiet, hanging []measured
	for round := range rounds {
		quiet = append(quiet, b.measure(other, fmt.Sprint("quiet ", round), nil))
		keys := b.hang(round)
		hanging = append(hanging, b.measure(other, fmt.Sprint("hanging ", round), keys))
		if n := b.proxy.underWay.Load(); n < hangingCalls {
			t.Fatalf("only %d calls hang at the end of the round", n)
		}
		// The end of the processor is the end of the hanging calls. They are asked for again,
		// and do not hang a second time.
		b.must(b.processor.Kill(t.Context()))
		b.must(b.processor.Restart(t.Context()))
		b.awaitSettled(settledTime)
	}
	for kind, times := range map[string]func(measured) []time.Duration{
		"account charges":                  func(m measured) []time.Duration { return m.account },
		"card charges of another merchant": func(m measured) []time.Duration { return m.card },
	} {
		without, with := calmest(quiet, times), calmest(hanging, times)
		if with >= max(2*without, atLeast) {
			t.Errorf("p99 of %s is %v with hanging calls, and %v without", kind, with, without)
		}
		t.Logf("p99 of %s: %v with hanging calls, and %v without", kind, with, without)
	}
	b.judgeBooks()
}

// calmest is the p99 of the round that the rest of the machine has disturbed the least.
func calmest(all []measured, times func(measured) []time.Duration) time.Duration {
	var each []time.Duration
	for _, m := range all {
		sorted := slices.Sorted(slices.Values(times(m)))
		each = append(each, sorted[len(sorted)*99/100])
	}
	return slices.Min(each)
}

// hang starts the hanging calls and returns their keys. Every second caller waits for a
// second, and the others go away once all calls hang.
func (b *bench) hang(round int) (keys []string) {
	b.Helper()
	ctx, leave := context.WithCancel(b.Context())
	var callers sync.WaitGroup
	for i := range hangingCalls {
		key := fmt.Sprintf("hanging-%d-%d", round, i)
		keys = append(keys, key)
		seconds := 1 + i%2*9
		callers.Go(func() {
			answer := b.chargeWaiting(ctx, b.merchant, key, "pm_sim_hang", seconds)
			if answer.Final() {
				b.Errorf("a call that hangs is answered %v", answer)
			}
		})
	}
	await.Until(b, patience, "every call hangs", func() bool {
		return b.proxy.underWay.Load() >= hangingCalls
	})
	leave()
	callers.Wait()
	return keys
}

// measured are the times of the charges that succeeded.
type measured struct{ account, card []time.Duration }

// measure sends charges of the other merchant for one round. What is left of the round
// before, or of the start of the hanging calls, is not measured.
func (b *bench) measure(other *journal.Merchant, name string, keys []string) measured {
	b.Helper()
	b.load(other, name+" calm", calmTime, keys)
	return b.load(other, name, roundTime, keys)
}

// load sends charges of the other merchant for a time, at fixed rates. The keys are those
// of hanging calls, whose callers ask again.
func (b *bench) load(
	other *journal.Merchant, name string, duration time.Duration, keys []string,
) (m measured) {
	b.Helper()
	var mu sync.Mutex
	var running sync.WaitGroup
	take := func(times *[]time.Duration, answer journal.Answer) {
		mu.Lock()
		defer mu.Unlock()
		*times = append(*times, answer.Took())
		if answer.Status != http.StatusCreated {
			b.Errorf("%s: a charge is answered %v", name, answer)
		}
	}
	url := b.instance(0).URL()
	every(&running, duration, accountInterval, func(i int) {
		take(&m.account, other.Charge(b.Context(), url, fmt.Sprint(name, " account ", i),
			journal.NewCharge(1)))
	})
	every(&running, duration, cardInterval, func(i int) {
		take(&m.card, other.Charge(b.Context(), url, fmt.Sprint(name, " card ", i),
			journal.NewCardCharge(1, "pm_card_visa")))
	})
	every(&running, duration, healthInterval, func(int) { b.healthy(b.instance(0)) })
	if len(keys) > 0 {
		every(&running, duration, retryInterval, func(i int) {
			key := keys[i%len(keys)]
			if answer := b.chargeWaiting(b.Context(), b.merchant, key, "pm_sim_hang",
				1); answer.Status != http.StatusConflict {
				b.Errorf("the retry of a call that hangs is answered %v", answer)
			}
		})
	}
	running.Wait()
	return m
}

// every does something at a fixed rate for a time, whether the last one is done or not.
func every(running *sync.WaitGroup, duration, interval time.Duration, do func(i int)) {
	running.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for i := range int(duration / interval) {
			<-ticker.C
			running.Go(func() { do(i) })
		}
	})
}

// chargeWaiting sends a charge to the first instance, and prefers to wait so many seconds.
func (b *bench) chargeWaiting(
	ctx context.Context, merchant *journal.Merchant, key, method string, seconds int,
) journal.Answer {
	b.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.instance(0).URL()+"/payments",
		bytes.NewReader(journal.NewCardCharge(100, method).Body()))
	b.must(err)
	r.Header.Set("Authorization", "Bearer "+merchant.APIKey)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", key)
	r.Header.Set("Prefer", fmt.Sprintf("wait=%d", seconds))
	return merchant.Send(r)
}
