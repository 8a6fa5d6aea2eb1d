package payments

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/uuid"
)

var (
	sevenCents     = aToB(7)
	sevenCentsHeld = held(aToB(7))
)

// aToB charges account a for account b.
func aToB(cents int64) Charge {
	return Charge{Amount: usd(cents), SourceAccount: "a", DestinationAccount: "b"}
}

// cardToB charges a card for account b.
func cardToB(cents int64) Charge {
	return Charge{Amount: usd(cents), PaymentMethod: "pm_card_visa", DestinationAccount: "b"}
}

func held(c Charge) Charge {
	c.AuthorizeOnly = true
	return c
}

// operationCase is one operation, what it needs first, and the state after it was done
// exactly once.
type operationCase struct {
	name    string
	before  []request // the first makes the payment; their keys are "before 0", "before 1", …
	request request
	comesTo string // see result
	leaves  string // see trial.state
}

var chargeCase = operationCase{
	name: operationCharge, request: charging(sevenCents),
	comesTo: "201",
	leaves:  "succeeded, 7 captured, 0 refunded; a has 993 with 0 held, b has 7 with 0 held",
}

var refundCase = operationCase{
	name: operationRefund, before: []request{charging(sevenCents)},
	request: request{operation: operationRefund, amount: new(int64(3))}, comesTo: "201",
	leaves: "succeeded, 7 captured, 3 refunded; a has 996 with 0 held, b has 4 with 0 held",
}

// operationCases are all operations of callers, and settlements. Account a of the merchant
// has 1000, and b has nothing.
var operationCases = []operationCase{
	chargeCase,
	{
		name: "authorize", request: request{operation: operationCharge, charge: sevenCentsHeld},
		comesTo: "201",
		leaves:  "authorized, 0 captured, 0 refunded; a has 1000 with 7 held, b has 0 with 0 held",
	},
	{
		name: operationCapture, before: []request{charging(sevenCentsHeld)},
		request: request{operation: operationCapture, amount: new(int64(5))}, comesTo: "200",
		leaves: "succeeded, 5 captured, 0 refunded; a has 995 with 0 held, b has 5 with 0 held",
	},
	{
		name: operationCancel, before: []request{charging(sevenCentsHeld)},
		request: request{operation: operationCancel}, comesTo: "200",
		leaves: "canceled, 0 captured, 0 refunded; a has 1000 with 0 held, b has 0 with 0 held",
	},
	refundCase,
	beginCase,
	{
		name: "begin a refund",
		before: []request{
			charging(cardToB(7)), settling("before 0", StatusSucceeded),
		},
		request: request{operation: operationRefund, amount: new(int64(3))}, comesTo: begun,
		leaves: "succeeded, 7 captured, 0 refunded; a has 1000 with 0 held, b has 7 with 3 held" +
			"; charge settled, refund open",
	},
	{
		name: "settle a charge", before: []request{charging(cardToB(7))},
		request: settling("before 0", StatusSucceeded), comesTo: settled,
		leaves: "succeeded, 7 captured, 0 refunded; a has 1000 with 0 held, b has 7 with 0 held" +
			"; charge settled",
	},
	settleRefundCase,
}

// beginCase and settleRefundCase have a statement of every kind that card payments add.
var beginCase = operationCase{
	name: "begin a charge", request: charging(cardToB(7)), comesTo: begun,
	leaves: "processing, 0 captured, 0 refunded; a has 1000 with 0 held, b has 0 with 0 held; " +
		"charge open",
}

var settleRefundCase = operationCase{
	name: "settle a refund",
	before: []request{
		charging(cardToB(7)), settling("before 0", StatusSucceeded),
		{operation: operationRefund, amount: new(int64(3))},
	},
	request: settling("before 2", StatusSucceeded), comesTo: settled,
	leaves: "succeeded, 7 captured, 3 refunded; a has 1000 with 0 held, b has 4 with 0 held; " +
		"charge settled, refund settled",
}

// trial is the operation of a case, with a merchant of its own.
type trial struct {
	operationCase
	merchant int64
	healthy  *Service // an instance without faults
	t        *testing.T
}

func newTrial(t *testing.T, healthy *Service, c operationCase) *trial {
	t.Helper()
	merchant := newMerchant(t, healthy, map[string]int64{"a": 1000, "b": 0})
	openClearing(t, healthy, merchant)
	a := &trial{operationCase: c, merchant: merchant, healthy: healthy, t: t}
	for i, before := range c.before {
		before.payment = a.request.payment
		caller := callerWith(merchant, fmt.Sprint("before ", i))
		reply, err := before.send(context.Background(), healthy, caller)
		if got := result(reply, err, caller); got != begun && got != settled && got != "201" {
			t.Fatalf("%s: %s came to %s", c.name, before, got)
		}
		a.request.payment = reply.PaymentID
	}
	return a
}

// caller is a new request under the same key.
func (a *trial) caller() Caller { return callerWith(a.merchant, "k") }

// wantDone checks that this request executed the operation, once, and that the same key
// replays its answer.
func (a *trial) wantDone(own Caller, reply Reply, err error) {
	a.t.Helper()
	if got := result(reply, err, own); got != a.comesTo {
		a.t.Fatalf("%s: came to %s, want %s", a.name, got, a.comesTo)
	}
	a.wantReplayOf(reply)
}

// wantReplayOf checks that another instance replays the reply byte for byte, and that
// the state is that after one operation.
func (a *trial) wantReplayOf(reply Reply) {
	a.t.Helper()
	retry := a.caller()
	replay, err := a.request.send(context.Background(), a.healthy, retry)
	if got, want := result(replay, err, retry), again(a.comesTo); got != want {
		a.t.Errorf("%s: the same key came to %s, want %s", a.name, got, want)
	}
	if string(replay.Body) != string(reply.Body) {
		a.t.Errorf("%s: the replay differs:\n%s\n%s", a.name, replay.Body, reply.Body)
	}
	if got := a.state(reply.PaymentID); got != a.leaves {
		a.t.Errorf("%s: left %s; want %s", a.name, got, a.leaves)
	}
}

// state describes the payment, the two accounts, and the attempts at the processor.
func (a *trial) state(id uuid.UUID) string {
	a.t.Helper()
	payment, err := a.healthy.Get(context.Background(), a.merchant, id)
	if err != nil {
		a.t.Fatal(err)
	}
	return fmt.Sprintf("%s, %d captured, %d refunded; a has %s, b has %s%s",
		payment.Status, payment.AmountCaptured, payment.AmountRefunded,
		fundsOf(a.t, a.healthy, a.merchant, "a"), fundsOf(a.t, a.healthy, a.merchant, "b"),
		attemptsOf(a.t, a.healthy, a.merchant, id))
}
