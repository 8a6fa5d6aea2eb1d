package payments

import (
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// life is the steps of one card payment, in transactions of their own, and its end.
type life struct {
	name   string
	first  request // makes the payment, under the key "first"
	steps  []step  // the keys that they do not name are "step 0", "step 1", …
	state  string
	events string
	funds  string // of b, who had nothing
}

func TestCardPaymentBecomesWhatTheProcessorSays(t *testing.T) {
	t.Parallel()
	const (
		first     = "first"
		wrong     = "refused: invalid_state"
		tooLarge  = "refused: amount_too_large"
		reused    = "refused: idempotency_key_reused"
		duplicate = "refused: duplicate_reference"
	)
	order := cardToB(30)
	order.Reference = "order"
	ask := func(operation string, amount int64, want string) step {
		if amount == 0 {
			return step{request: request{operation: operation}, want: want}
		}
		return step{request: request{operation: operation, amount: &amount}, want: want}
	}
	retry := func(r request, key, want string) step {
		return step{request: r, key: key, want: want}
	}
	settle := func(key string, word Status) step {
		return step{request: settling(key, word), want: settled}
	}
	authorized := []step{settle(first, StatusAuthorized)}
	for _, l := range []life{
		{
			name: "a charge succeeds", first: charging(order),
			steps: []step{
				retry(charging(order), first, inProgress),
				retry(charging(cardToB(31)), first, reused),
				retry(charging(held(order)), first, reused),
				retry(charging(order), "other", duplicate),
				ask(operationRefund, 0, wrong), ask(operationCancel, 0, wrong),
				ask(operationCapture, 0, wrong),
				settle(first, StatusSucceeded), settle(first, StatusSucceeded),
				retry(charging(order), first, "201 replayed"),
				retry(charging(cardToB(31)), first, reused),
				retry(charging(order), "other", duplicate),
			},
			state:  "succeeded, 30 captured, 0 refunded, version 2; charge settled",
			events: "payment.processing 0, payment.succeeded 30", funds: "30 with 0 held",
		},
		{
			name: "a charge is declined, and its reference is free", first: charging(order),
			steps: []step{
				settle(first, StatusDeclined), retry(charging(order), first, "402 replayed"),
				ask(operationRefund, 0, wrong), ask(operationCapture, 0, wrong),
				retry(charging(order), "other", begun), retry(charging(order), "third", duplicate),
			},
			state:  "declined, 0 captured, 0 refunded, version 2; charge settled",
			events: "payment.processing 0, payment.declined 0", funds: "0 with 0 held",
		},
		{
			name: "an authorization is declined", first: charging(held(order)),
			steps: []step{
				settle(first, StatusDeclined), retry(charging(held(order)), first, "402 replayed"),
			},
			state:  "declined, 0 captured, 0 refunded, version 2; authorize settled",
			events: "payment.processing 0, payment.declined 0", funds: "0 with 0 held",
		},
		{
			name: "an authorization is captured in part", first: charging(held(order)),
			steps: append(authorized[:1:1],
				retry(charging(held(order)), first, "201 replayed"),
				ask(operationCapture, 31, tooLarge),
				ask(operationCapture, 20, begun), // step 3
				retry(request{operation: operationCapture, amount: new(int64(20))}, "step 3",
					inProgress),
				ask(operationCapture, 20, wrong), ask(operationCancel, 0, wrong),
				ask(operationRefund, 0, wrong),
				settle("step 3", StatusSucceeded),
				retry(request{operation: operationCapture, amount: new(int64(20))}, "step 3",
					"200 replayed"),
				ask(operationCapture, 0, wrong),
			),
			state: "succeeded, 20 captured, 0 refunded, version 4; " +
				"authorize settled, capture settled",
			events: "payment.processing 0, payment.authorized 0, payment.succeeded 20",
			funds:  "20 with 0 held",
		},
		{
			name: "the processor has ended an authorization", first: charging(held(order)),
			steps: append(authorized[:1:1],
				ask(operationCapture, 0, begun), settle("step 1", StatusCanceled),
				retry(request{operation: operationCapture}, "step 1", "402 replayed"),
				retry(charging(order), "other", begun), // the reference is free
			),
			state: "canceled, 0 captured, 0 refunded, version 4; " +
				"authorize settled, capture settled",
			events: "payment.processing 0, payment.authorized 0, payment.canceled 0",
			funds:  "0 with 0 held",
		},
		{
			name: "an authorization is canceled", first: charging(held(order)),
			steps: append(authorized[:1:1],
				ask(operationCancel, 0, begun), ask(operationCapture, 0, wrong),
				ask(operationCancel, 0, wrong), retry(charging(order), "other", duplicate),
				settle("step 1", StatusCanceled),
				retry(request{operation: operationCancel}, "step 1", "200 replayed"),
				ask(operationCapture, 0, wrong), retry(charging(order), "other", begun),
			),
			state: "canceled, 0 captured, 0 refunded, version 4; " +
				"authorize settled, cancel settled",
			events: "payment.processing 0, payment.authorized 0, payment.canceled 0",
			funds:  "0 with 0 held",
		},
		{
			// What is at the processor counts for the cap, and cannot be spent.
			name: "refunds", first: charging(order),
			steps: []step{
				settle(first, StatusSucceeded),
				ask(operationRefund, 20, begun), ask(operationRefund, 11, tooLarge), // step 1
				retry(request{operation: operationRefund, amount: new(int64(20))}, "step 1",
					inProgress),
				retry(charging(Charge{
					Amount: usd(11), SourceAccount: "b", DestinationAccount: "a",
				}), "spend", "402"),
				ask(operationRefund, 0, begun), ask(operationRefund, 0, tooLarge), // step 5
				settle("step 1", StatusDeclined), settle("step 5", StatusSucceeded),
				retry(request{operation: operationRefund, amount: new(int64(20))}, "step 1",
					"402 replayed"),
				retry(request{operation: operationRefund}, "step 5", "201 replayed"),
				ask(operationRefund, 21, tooLarge),
				retry(charging(Charge{
					Amount: usd(15), SourceAccount: "b", DestinationAccount: "a",
				}), "spend again", "201"),
				ask(operationRefund, 6, "402"), ask(operationRefund, 5, begun),
			},
			state: "succeeded, 30 captured, 10 refunded, version 7; " +
				"charge settled, refund settled, refund settled, refund open",
			events: "payment.processing 0, payment.succeeded 30, refund.processing 20, " +
				"refund.processing 10, refund.declined 20, refund.succeeded 10, " +
				"refund.declined 6, refund.processing 5",
			funds: "5 with 5 held",
		},
	} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			l.run(t)
		})
	}
}

// run sends the steps to two instances in turn.
func (l *life) run(t *testing.T) {
	db := pgtest.New(t)
	instances := []*Service{newService(t, db.URL), newService(t, db.URL)}
	s := instances[0]
	merchantID := newMerchant(t, s, map[string]int64{"a": 0, "b": 0})
	payment := send(t, s, merchantID, "first", l.first)
	for i, step := range l.steps {
		step.request.payment = payment
		caller := callerWith(merchantID, step.keyAt(i))
		reply, err := step.send(t.Context(), instances[(i+1)%2], caller)
		if got := result(reply, err, caller); got != step.want {
			t.Fatalf("step %d, %s, came to %s; want %s", i, step.request, got, step.want)
		}
	}
	got := stateOf(t, s, merchantID, payment) + attemptsOf(t, s, merchantID, payment)
	if got != l.state {
		t.Errorf("the payment is %s; want %s", got, l.state)
	}
	if got := eventsOf(t, s, merchantID, payment); got != l.events {
		t.Errorf("the events are %s; want %s", got, l.events)
	}
	if got := fundsOf(t, s, merchantID, "b"); got != l.funds {
		t.Errorf("b has %s, want %s", got, l.funds)
	}
}
