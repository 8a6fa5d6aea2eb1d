package torture

import (
	"net/http"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/journal"
)

// More charges wait than may. Those over the limit are put off at once, /readyz says
// that there is no room, and both end with the queue.
func TestFullQueueAnswersAtOnceAndRecovers(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, "COMMIT_WORKERS=1", "COMMIT_QUEUE_SIZE_MAX=5")
	b.chargedOnce(key(0), b.charge(0, key(0)))
	release := b.holdCharges(journal.World)
	const callers = 30
	answers := make(chan journal.Answer, callers)
	send := func(i int) { go func() { answers <- b.charge(0, key(i)) }() }
	send(1)
	b.awaitBackend("the one worker is busy", waitsForLock)
	for i := 2; i <= callers; i++ {
		send(i)
	}
	for range callers - 1 - 5 {
		answer := <-answers
		b.putOff(answer, margin)
		if answer.Code() != "overloaded" {
			t.Errorf("a charge that found the queue full was answered %v", answer)
		}
	}
	b.healthAnswers(0, http.StatusServiceUnavailable)
	release()
	for range 1 + 5 {
		if answer := <-answers; answer.Class() != journal.Ack {
			t.Errorf("a charge that had a place was answered %v", answer)
		}
	}
	b.instance(0).AwaitReady(margin)
	for i := range callers + 1 {
		b.chargedOnce(key(i), b.charge(0, key(i)), b.charge(0, key(i)))
	}
	b.no5xxStored()
}

// A look-up that waits for a lock has the only connection for reads. It gives up before
// the requests that wait for the connection do, so these are answered in time. Charges go
// on, so the instance stays ready.
func TestReadsAnswerInTimeWithoutAReadConnection(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, setBudget, "READ_CONNECTIONS=1")
	b.chargedOnce(key(0), b.charge(0, key(0)))
	url := b.instance(0).URL()
	stranger := journal.CreateMerchant(t, b.url)
	get := func(m *journal.Merchant, path string) journal.Answer {
		return m.Do(t.Context(), http.MethodGet, url+path, "", nil)
	}
	release := b.hold(`LOCK TABLE api_keys`)
	lookedUp := started(func() journal.Answer { return get(stranger, "/accounts/world") })
	asked := map[string]<-chan journal.Answer{}
	b.awaitBackend("the connection is taken", waitsForLock)
	for _, path := range []string{
		"/accounts/world", "/payments/pay_00000000000070008000000000000000",
		"/payments?idempotency_key=x",
	} {
		asked["GET "+path] = started(func() journal.Answer { return get(b.merchant, path) })
	}
	asked["PUT"] = started(func() journal.Answer {
		return b.merchant.Do(t.Context(), http.MethodPut, url+"/accounts/new", "",
			[]byte(`{"currency":"USD"}`))
	})
	b.chargedOnce(key(1), b.charge(0, key(1)))
	b.healthAnswers(0, http.StatusOK)
	b.putOff(<-lookedUp, budget+margin)
	for what, answer := range asked {
		if answer := <-answer; answer.Took() > budget+margin || answer.Status >= 500 {
			t.Errorf("%s: %v", what, answer)
		}
	}
	release()
}
