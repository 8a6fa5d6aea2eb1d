package journal

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
)

const (
	tryTimeout = 5 * time.Second       // after which a client gives up on one try
	retryPause = 20 * time.Millisecond // at most, before the next
	// at most, between two requests of one client: it bounds the size of a journal
	thinkingTime = 4 * time.Millisecond
	// of clients of cards. A kill holds up the keys that are at the processor, and the others
	// have to come meanwhile.
	cardThinkingTime = time.Second
	// in which a key that is sent again, with no fault around, has to be answered
	convergeTime = 3 * time.Second
	convergers   = 8                // clients that send all keys again
	strikeWait   = 10 * time.Second // for requests to be under way when a fault is to strike
	answersWait  = 20 * time.Second // for keys to be answered
	strikeAmong  = 3                // so many: some will be answered before it does
)

// Journal is what clients sent and what they were told; see the package comment.
type Journal struct {
	merchant *Merchant
	pick     func() string // the instance for the next try
	cards    []string      // payment methods, in turn; none: accounts are charged
	thinking time.Duration

	mu       sync.Mutex // guards what follows
	intents  []*intent
	underWay map[string]int // requests without an answer, by instance
	strikes  []strike

	// What has been acknowledged so far. In turn, what is authorized is captured,
	// canceled or left; what is charged is refunded, refunded or left.
	authorized, charged int
}

// intent is one wish, under one key: to charge, or to change what was charged.
type intent struct {
	key    string
	charge Charge
	change string   // "": the charge; else one of the changes
	of     string   // the payment that it changes
	amount int64    // of a change
	tries  []Answer // guarded by the journal's lock
	then   *intent  // the change of what this one charged, nil: none; guarded likewise
}

// The changes.
const (
	changeCapture = "capture"
	changeCancel  = "cancel"
	changeRefund  = "refund"
)

// strike is a fault that was done to an instance, or to all of them.
type strike struct {
	what, target string // target "": all
	at           time.Time
}

// NewJournal is an empty one of a merchant whose requests go to the instances that pick
// names.
func NewJournal(merchant *Merchant, pick func() string) *Journal {
	return &Journal{
		merchant: merchant, pick: pick, thinking: thinkingTime, underWay: map[string]int{},
	}
}

// The payment methods of card journals are those of lab/simulator.
const (
	goodCard     = "pm_card_visa"
	declinedCard = "pm_card_chargeDeclined"
)

// faultyCards are charged in the end, but their first call fails.
var faultyCards = []string{
	"pm_sim_timeout_then_success", "pm_sim_500_after_charge", "pm_sim_500_before_charge",
	"pm_sim_reset_after_charge", "pm_sim_reset_before_charge", "pm_sim_garbage", "pm_sim_429",
}

// NewCardJournal is a journal whose charges are by card. Some are declined, and with some
// the processor fails.
func NewCardJournal(merchant *Merchant, pick func() string) *Journal {
	j := NewJournal(merchant, pick)
	j.thinking = cardThinkingTime
	for _, faulty := range faultyCards {
		j.cards = append(j.cards, goodCard, goodCard, goodCard, declinedCard, goodCard, goodCard,
			faulty)
	}
	return j
}

// Load lets clients charge, and capture, cancel or refund what they have charged, each
// one thing after the other, until stop is called, which waits for their last answers.
func (j *Journal) Load(t testing.TB, clients int) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var working sync.WaitGroup
	for range clients {
		working.Go(func() {
			for ctx.Err() == nil {
				charge := j.newIntent()
				j.pursue(ctx, charge)
				pause(ctx, j.thinking)
				if change := j.newChange(charge); change != nil {
					j.pursue(ctx, change)
					pause(ctx, j.thinking)
				}
			}
		})
	}
	stop = sync.OnceFunc(func() {
		cancel()
		working.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// newIntent is mostly a charge that succeeds or an authorization, now and then one that
// is declined. Its amount tells it from others.
func (j *Journal) newIntent() *intent {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := len(j.intents)
	charge := NewCharge(int64(n + 1))
	charge.Destination = Shops[n%len(Shops)]
	charge.AuthorizeOnly = n%2 == 0
	switch {
	case len(j.cards) > 0:
		charge.Source, charge.PaymentMethod = "", j.cards[n%len(j.cards)]
	case n%8 == 7:
		charge.Source = Poor
	}
	return j.note(&intent{charge: charge})
}

// newChange is what is wished next of a charge, under a key of its own: one in three is
// left as it is, and so is what is not known to have been charged.
func (j *Journal) newChange(charged *intent) *intent {
	j.mu.Lock()
	defer j.mu.Unlock()
	ack := slices.IndexFunc(charged.tries, func(a Answer) bool { return a.Class() == Ack })
	if ack < 0 {
		return nil
	}
	turn, ways := &j.charged, []string{changeRefund, changeRefund, ""}
	if charged.charge.AuthorizeOnly {
		turn, ways = &j.authorized, []string{changeCapture, changeCancel, ""}
	}
	change := ways[*turn%len(ways)]
	*turn++
	if change == "" {
		return nil
	}
	in := &intent{
		charge: charged.charge, change: change, of: charged.tries[ack].PaymentID(),
		amount: (charged.charge.Amount + 1) / 2,
	}
	charged.then = j.note(in)
	return in
}

// note adds an intent under the next key. The caller holds the lock.
func (j *Journal) note(in *intent) *intent {
	in.key = fmt.Sprintf("journal-%06d", len(j.intents))
	j.intents = append(j.intents, in)
	return in
}

// pursue sends a key until its answer is final. One in four is sent to two instances at
// once, as a load balancer does that is too quick, and one in four once more after its
// answer, as a client does whose own memory is poor.
func (j *Journal) pursue(ctx context.Context, in *intent) {
	var twin sync.WaitGroup
	defer twin.Wait()
	habit := rand.IntN(4)
	if habit == 0 {
		twin.Go(func() { j.try(in) })
	}
	for !j.try(in).Final() {
		if ctx.Err() != nil {
			return // Converge will ask
		}
		pause(ctx, retryPause)
	}
	if habit == 1 {
		j.try(in)
	}
}

// pause waits for up to most, at random so that clients do not move in step.
func pause(ctx context.Context, most time.Duration) {
	select {
	case <-time.After(rand.N(most)):
	case <-ctx.Done():
	}
}

// try sends the key once and writes down what came of it. Nobody's context ends a try:
// an answer that is on its way is evidence.
func (j *Journal) try(in *intent) Answer {
	target := j.pick()
	j.count(target, 1)
	ctx, cancel := context.WithTimeout(context.Background(), tryTimeout)
	defer cancel()
	answer := j.merchant.Do(ctx, http.MethodPost, target+in.path(), in.key, in.body())
	answer.Target = target
	j.count(target, -1)
	j.mu.Lock()
	defer j.mu.Unlock()
	in.tries = append(in.tries, answer)
	return answer
}

func (in *intent) path() string {
	switch in.change {
	case "":
		return "/payments"
	case changeRefund:
		return "/payments/" + in.of + "/refunds"
	}
	return "/payments/" + in.of + "/" + in.change
}

func (in *intent) body() []byte {
	switch in.change {
	case "":
		return in.charge.Body()
	case changeCancel:
		return []byte(`{}`)
	}
	return fmt.Appendf(nil, `{"amount":%d}`, in.amount)
}

func (j *Journal) count(target string, change int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.underWay[target] += change
	j.underWay[""] += change
}

// Strike does something harmful at a moment at which requests are under way: at the
// instance with that address, or anywhere if target is empty. Judge fails the test if
// they all had their answers by then, each time that this was done.
func (j *Journal) Strike(t testing.TB, what, target string, harm func()) {
	t.Helper()
	await.Until(t, strikeWait, "requests are under way", func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		return j.underWay[target] >= strikeAmong
	})
	at := time.Now()
	harm()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.strikes = append(j.strikes, strike{what: what, target: target, at: at})
}

// AwaitAnswers waits until n more requests than now, each under a key of its own, have
// their final answer.
func (j *Journal) AwaitAnswers(t testing.TB, n int) {
	t.Helper()
	before := j.answered()
	await.Until(t, answersWait, fmt.Sprintf("%d keys are answered", n), func() bool {
		return j.answered() >= before+n
	})
}

func (j *Journal) answered() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, in := range j.intents {
		if slices.ContainsFunc(in.tries, Answer.Final) {
			n++
		}
	}
	return n
}

// Converge sends every key once more, now that the faults are over. Each has to be
// answered at once, and for good.
func (j *Journal) Converge(t testing.TB) {
	t.Helper()
	keys := make(chan *intent)
	var working sync.WaitGroup
	for range convergers {
		working.Go(func() {
			for in := range keys {
				if answer := j.try(in); !answer.Final() || answer.Took() > convergeTime {
					t.Errorf("key %s, sent again after the faults: %v", in.key, answer)
				}
			}
		})
	}
	for _, in := range j.intents { // nobody adds to them any more
		keys <- in
	}
	close(keys)
	working.Wait()
}
