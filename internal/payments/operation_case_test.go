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

func held(c Charge) Charge {
	c.AuthorizeOnly = true
	return c
}

// operationCase is one operation of a caller, the payment that it needs first, and the
// state after it was done exactly once.
type operationCase struct {
	name    string
	to      *Charge // makes the payment that it changes; nil: it makes one itself
	request request
	status  int    // of its answer
	leaves  string // see attempt.state
}

var chargeCase = operationCase{
	name: operationCharge, request: request{operation: operationCharge, charge: sevenCents},
	status: 201,
	leaves: "succeeded, 7 captured, 0 refunded; a has 993 with 0 held, b has 7",
}

// operationCases are all operations of callers. Account a of the merchant has 1000, and
// b has nothing.
var operationCases = []operationCase{
	chargeCase,
	{
		name: "authorize", request: request{operation: operationCharge, charge: sevenCentsHeld},
		status: 201,
		leaves: "authorized, 0 captured, 0 refunded; a has 1000 with 7 held, b has 0",
	},
	{
		name: operationCapture, to: &sevenCentsHeld,
		request: request{operation: operationCapture, amount: new(int64(5))}, status: 200,
		leaves: "succeeded, 5 captured, 0 refunded; a has 995 with 0 held, b has 5",
	},
	{
		name: operationCancel, to: &sevenCentsHeld, request: request{operation: operationCancel},
		status: 200,
		leaves: "canceled, 0 captured, 0 refunded; a has 1000 with 0 held, b has 0",
	},
	{
		name: operationRefund, to: &sevenCents,
		request: request{operation: operationRefund, amount: new(int64(3))}, status: 201,
		leaves: "succeeded, 7 captured, 3 refunded; a has 996 with 0 held, b has 4",
	},
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
	a := &trial{operationCase: c, merchant: merchant, healthy: healthy, t: t}
	if c.to != nil {
		a.request.payment = charge(t, healthy, a.merchant, "before", *c.to).PaymentID
	}
	return a
}

// caller is a new request under the same key.
func (a *trial) caller() Caller { return callerWith(a.merchant, "k") }

// wantDone checks that this request executed the operation, once, and that the same key
// replays its answer.
func (a *trial) wantDone(own Caller, reply Reply, err error) {
	a.t.Helper()
	if got, want := result(reply, err, own), fmt.Sprint(a.status); got != want {
		a.t.Fatalf("%s: came to %s, want %s", a.name, got, want)
	}
	a.wantReplayOf(reply)
}

// wantReplayOf checks that another instance replays the reply byte for byte, and that
// the state is that after one operation.
func (a *trial) wantReplayOf(reply Reply) {
	a.t.Helper()
	retry := a.caller()
	replay, err := a.request.send(context.Background(), a.healthy, retry)
	if got, want := result(replay, err, retry), fmt.Sprint(a.status, " replayed"); got != want {
		a.t.Errorf("%s: the same key came to %s, want %s", a.name, got, want)
	}
	if string(replay.Body) != string(reply.Body) {
		a.t.Errorf("%s: the replay differs:\n%s\n%s", a.name, replay.Body, reply.Body)
	}
	if got := a.state(reply.PaymentID); got != a.leaves {
		a.t.Errorf("%s: left %s; want %s", a.name, got, a.leaves)
	}
}

// state describes the payment and the two accounts.
func (a *trial) state(id uuid.UUID) string {
	a.t.Helper()
	payment, err := a.healthy.Get(context.Background(), a.merchant, id)
	if err != nil {
		a.t.Fatal(err)
	}
	from := account(a.t, a.healthy, a.merchant, "a")
	return fmt.Sprintf("%s, %d captured, %d refunded; a has %d with %d held, b has %d",
		payment.Status, payment.AmountCaptured, payment.AmountRefunded, from.Posted, from.Held,
		balanceOf(a.t, a.healthy, a.merchant, "b"))
}
