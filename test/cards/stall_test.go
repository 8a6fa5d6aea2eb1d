package cards

import (
	"net/http"
	"net/url"
	"strconv"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// declinedReply is the processor's answer for a card that it refuses to confirm.
var declinedReply = &reply{
	status: http.StatusPaymentRequired,
	header: http.Header{"Content-Type": {"application/json"}, "Request-Id": {"req_test"}},
	body: []byte(`{"error":{"type":"card_error","code":"card_declined",` +
		`"decline_code":"do_not_honor","message":"Your card was declined."}}`),
}

// stall is a charge whose instance stops at one step.
type stall struct {
	name   string
	amount int64 // tells the charges apart
	method string
	step   simulator.Step // at which the instance is stopped
	// refused: the processor refuses what the other instance confirms, but would confirm what
	// the stopped one has sent.
	refused bool
	status  int // of the final answer
	late    int // the processor's answer to the stopped instance's call
}

var stalls = []stall{
	{"the intent is made", 101, "pm_card_visa", simulator.StepCreate, false, 201, 200},
	{"it is to be charged", 102, "pm_card_visa", simulator.StepConfirm, false, 201, 200},
	{"it is declined", 103, "pm_card_chargeDeclined", simulator.StepConfirm, false, 402, 402},
	// The late call reaches an intent that is canceled. Without that it would charge.
	{"it is refused", 104, "pm_card_visa", simulator.StepConfirm, true, 402, 400},
}

// An instance is stopped within a call, and for longer than its lease. The other instance
// ends the attempt. Then the late call reaches the processor, and the instance goes on.
func TestLateCallOfAStoppedInstanceHasNoEffect(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, nil)
	stopped := b.instance(0)
	held := b.holdStalls(stopped)
	var lates []<-chan journal.Answer
	for _, s := range stalls {
		lates = append(lates, started(func() journal.Answer { return b.chargeStalled(0, s) }))
	}
	calls := map[int64]*heldCall{}
	for range stalls {
		call := <-held
		calls[call.amount] = call
	}
	stopped.Stop()
	defer stopped.Cont()
	var finals []<-chan journal.Answer
	for _, s := range stalls {
		finals = append(finals, started(func() journal.Answer { return b.chargeStalled(1, s) }))
	}
	for i, s := range stalls {
		answer := <-finals[i]
		if answer.Status != s.status || answer.Took() > leaseTime+patience/2 {
			t.Errorf("%s: the other instance answers %v, want %d", s.name, answer, s.status)
		}
		call := calls[s.amount]
		close(call.release)
		if late := <-call.late; late != s.late {
			t.Errorf("%s: the late call is answered %d, want %d", s.name, late, s.late)
		}
		finals[i] = started(func() journal.Answer { return answer })
	}
	stopped.Cont()
	for i, s := range stalls {
		want := <-finals[i]
		if late := <-lates[i]; late.Final() && string(late.Body) != string(want.Body) {
			t.Errorf("%s: the stopped instance answers %v, the other one %v", s.name, late, want)
		}
		again := b.chargeStalled(0, s)
		if again.Status != want.Status || string(again.Body) != string(want.Body) {
			t.Errorf("%s: the retry is answered %v, want %v", s.name, again, want)
		}
	}
	b.awaitSettled(settledTime)
	if n := b.number(`SELECT count(*) FROM processor_attempts WHERE token = 1`); n != 0 {
		t.Errorf("%d attempts were never taken over, so this test shows too little", n)
	}
	b.judgeBooks()
}

// chargeStalled sends the charge once, to instance i.
func (b *bench) chargeStalled(i int, s stall) journal.Answer {
	b.Helper()
	return b.merchant.Charge(b.Context(), b.instance(i).URL(), s.name,
		journal.NewCardCharge(s.amount, s.method))
}

// heldCall is a call of the stopped instance that the proxy holds.
type heldCall struct {
	amount  int64
	release chan struct{}
	late    chan int // the status of the processor's answer
}

// holdStalls holds the calls at which the instance is to be stopped. A created intent has
// its answer held, and a confirmation does not reach the processor.
func (b *bench) holdStalls(stopped *member) <-chan *heldCall {
	b.Helper()
	held := make(chan *heldCall, len(stalls))
	b.proxy.on(func(x *exchange) func(*exchange) {
		s, ok := b.stallOf(x)
		switch {
		case !ok || s.step != x.step:
			return nil
		case x.member != stopped && s.refused:
			return func(x *exchange) { x.answer(declinedReply) }
		case x.member != stopped:
			return nil
		}
		return func(x *exchange) {
			call := &heldCall{s.amount, make(chan struct{}), make(chan int, 1)}
			var got *reply
			if s.step == simulator.StepCreate {
				got = x.forward(b.Context(), func() {})
			}
			held <- call
			select {
			case <-call.release:
			case <-b.Context().Done():
				return
			}
			if got == nil {
				got = x.forward(b.Context(), func() {})
			}
			call.late <- got.status
			x.answer(got)
		}
	})
	return held
}

// stallOf finds the charge of an exchange, by its amount.
func (b *bench) stallOf(x *exchange) (stall, bool) {
	var amount int64
	switch x.step {
	case simulator.StepCreate:
		form, _ := url.ParseQuery(string(x.body))
		amount, _ = strconv.ParseInt(form.Get("amount"), 10, 64)
	case simulator.StepConfirm:
		for _, i := range b.readBooks().Intents {
			if i.ID == x.intent {
				amount = i.Amount
			}
		}
	default:
	}
	for _, s := range stalls {
		if s.amount == amount {
			return s, true
		}
	}
	return stall{}, false
}
