package torture

import (
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/journal"
)

// Row 6, and case 5 of the contract: the second of two waits for the first, on whichever instance, and replays it.
func TestRequestThatGoesToTwoInstancesAtOnceChargesOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2)
	const times = 150
	met := 0
	for i := range times {
		gate := make(chan struct{})
		var answers []<-chan journal.Answer
		for instance := range 2 {
			answers = append(answers, started(func() journal.Answer {
				<-gate
				return b.charge(instance, key(i))
			}))
		}
		close(gate)
		one, two := <-answers[0], <-answers[1]
		if one.Replayed() == two.Replayed() {
			t.Errorf("of two answers one is the first: %v, %v", one, two)
		}
		b.chargedOnce(key(i), one, two)
		if one.Sent.Before(two.Done) && two.Sent.Before(one.Done) {
			met++
		}
	}
	if met < times/2 {
		t.Errorf("only %d of %d pairs were under way at the same time", met, times)
	}
}
