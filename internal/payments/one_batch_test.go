package payments

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// step is an operation. It may change one of the payments that were made before.
type step struct {
	request
	payment int    // which one
	key     string // "": named after the step's position
	want    string // its result
}

// operations makes each step an operation of the merchant. The payments are those that
// were made before.
func operations(merchantID int64, paid []uuid.UUID, steps []step) []*operation {
	made := make([]*operation, len(steps))
	for i, s := range steps {
		caller, payment := callerWith(merchantID, s.keyAt(i)), paid[s.payment]
		switch s.operation {
		case operationCharge:
			made[i] = newCharge(caller, s.charge)
		case operationCapture:
			made[i] = newCapture(caller, Capture{PaymentID: payment, Amount: s.amount})
		case operationCancel:
			made[i] = newCancel(caller, payment)
		case operationRefund:
			made[i] = newRefund(caller, RefundRequest{PaymentID: payment, Amount: s.amount})
		case operationExpire:
			made[i] = newExpire(paymentRef{merchantID, payment})
		case operationSettle:
			s.request.payment = payment
			made[i] = newSettle(s.settlement(merchantID))
		}
	}
	return made
}

// transactAll commits the operations in one transaction, and returns their results.
func transactAll(t rapid.TB, s *Service, batch []*operation) []string {
	t.Helper()
	if err := s.transact(context.Background(), batch); err != nil {
		t.Fatal(err)
	}
	results := make([]string, len(batch))
	for i, op := range batch {
		own := Caller{RequestID: op.claim.RequestID}
		if op.refusal != nil {
			results[i] = result(Reply{}, op.refusal, own)
			continue
		}
		reply, err := s.replyTo(op, op.record, op.clock)
		results[i] = result(reply, err, own)
	}
	return results
}

func (s step) keyAt(i int) string {
	if s.key == "" {
		return fmt.Sprint("step ", i)
	}
	return s.key
}

// Each change sees the change before it, and the last state is written.
func TestChangesOfOnePaymentInOneBatchFollowEachOther(t *testing.T) {
	t.Parallel()
	change := func(operation string, amount int64, want string) step {
		if amount == 0 {
			return step{request: request{operation: operation}, want: want}
		}
		return step{request: request{operation: operation, amount: &amount}, want: want}
	}
	const tooLarge, wrongState = "refused: amount_too_large", "refused: invalid_state"
	for _, test := range []struct {
		name       string
		authorized bool // and not captured before
		steps      []step
		state      string
		events     string // with the amount that each is about
	}{
		{
			name: "refunds",
			steps: []step{
				change(operationRefund, 100, "201"), change(operationRefund, 100, "201"),
				change(operationRefund, 200, tooLarge), change(operationRefund, 50, "201"),
			},
			state: "succeeded, 300 captured, 250 refunded, version 4",
			events: "payment.succeeded 300, refund.succeeded 100, refund.succeeded 100, " +
				"refund.succeeded 50",
		},
		{
			name: "a capture, and what follows it", authorized: true,
			steps: []step{
				change(operationRefund, 0, wrongState), change(operationCapture, 250, "200"),
				change(operationCancel, 0, wrongState), change(operationCapture, 0, wrongState),
				change(operationRefund, 251, tooLarge), change(operationRefund, 0, "201"),
				change(operationRefund, 0, tooLarge),
			},
			state:  "succeeded, 250 captured, 250 refunded, version 3",
			events: "payment.authorized 0, payment.succeeded 250, refund.succeeded 250",
		},
		{
			name: "a cancel, and what follows it", authorized: true,
			steps: []step{
				change(operationCancel, 0, "200"), change(operationCancel, 0, wrongState),
				change(operationCapture, 0, wrongState), change(operationRefund, 0, wrongState),
			},
			state:  "canceled, 0 captured, 0 refunded, version 2",
			events: "payment.authorized 0, payment.canceled 0",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, pgtest.New(t).URL)
			merchantID := newMerchant(t, s, map[string]int64{"a": 300, "b": 0})
			id := authorizeOrCharge(t, s, merchantID, 300, test.authorized)
			batch := operations(merchantID, []uuid.UUID{id}, test.steps)
			for i, got := range transactAll(t, s, batch) {
				if want := test.steps[i].want; got != want {
					t.Errorf("step %d came to %s; want %s", i, got, want)
				}
			}
			if got := stateOf(t, s, merchantID, id); got != test.state {
				t.Errorf("the payment is %s; want %s", got, test.state)
			}
			if got := eventsOf(t, s, merchantID, id); got != test.events {
				t.Errorf("the events are %s; want %s", got, test.events)
			}
		})
	}
}

func stateOf(t testing.TB, s *Service, merchantID int64, id uuid.UUID) string {
	t.Helper()
	p, err := s.Get(context.Background(), merchantID, id)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s, %d captured, %d refunded, version %d",
		p.Status, p.AmountCaptured, p.AmountRefunded, p.Version)
}

// eventsOf are a payment's events in the order of its versions, each with its amount.
func eventsOf(t testing.TB, s *Service, merchantID int64, id uuid.UUID) (events string) {
	t.Helper()
	if err := s.pool.QueryRow(context.Background(), `
		SELECT string_agg(
			format('%s %s', type, coalesce(data->>'amount_captured', data->>'amount')), ', '
			ORDER BY payment_version, transaction_id, id)
		FROM events
		WHERE merchant_id = $1 AND payment_id = $2`, merchantID, id).Scan(&events); err != nil {
		t.Fatal(err)
	}
	return events
}

// opening are the payments that a merchant has already. The last one expires at once.
var opening = []Charge{
	aToB(12),
	{
		Amount: usd(7), SourceAccount: "a", DestinationAccount: "b", Reference: "r1",
		AuthorizeOnly: true,
	},
	{
		Amount: usd(6), PaymentMethod: "pm_card_visa", DestinationAccount: "b",
		Reference: "r2",
	},
	cardToB(4),
	held(cardToB(9)),
	held(aToB(5)),
}

// The payment of the opening that is at the processor, and what it has said of others.
const openingAtProcessor = 2

var openingWords = map[int]Status{3: StatusSucceeded, 4: StatusAuthorized}

// newOpening makes a merchant with these payments.
func newOpening(t *testing.T, s, hasty *Service) (merchantID int64, paid []uuid.UUID) {
	t.Helper()
	merchantID = newMerchant(t, s, map[string]int64{"a": 30, "b": 0})
	for i, c := range opening {
		by := s
		if i == len(opening)-1 {
			by = hasty
		}
		key := fmt.Sprint("opening ", i)
		paid = append(paid, send(t, by, merchantID, key, charging(c)))
		if word := openingWords[i]; word != "" {
			settlement := settling(key, word)
			settlement.payment = paid[i]
			send(t, s, merchantID, "", settlement)
		}
	}
	return merchantID, paid
}

// Many operations in one transaction end as they would have in a transaction each.
func TestOneBatchOfManyIsManyBatchesOfOne(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db.URL)
	hasty := newService(t, db.URL)
	hasty.authorizedFor = 0 // its authorizations end at once
	rapid.Check(t, func(rt *rapid.T) {
		steps := drawSteps(rt)
		together, paidTogether := newOpening(t, s, hasty)
		apart, paidApart := newOpening(t, s, hasty)
		var want []string
		for _, op := range operations(apart, paidApart, steps) {
			want = append(want, transactAll(rt, s, []*operation{op})...)
		}
		got := transactAll(rt, s, operations(together, paidTogether, steps))
		if !slices.Equal(got, want) {
			rt.Errorf("in one batch %v, in many %v", got, want)
		}
		for i := range opening {
			got := stateOf(t, s, together, paidTogether[i])
			if want := stateOf(t, s, apart, paidApart[i]); got != want {
				rt.Errorf("payment %d is %s after one batch, %s after many", i, got, want)
			}
		}
		for _, id := range []string{"a", "b", "world", "processor:stripe:USD"} {
			got, want := fundsOf(t, s, together, id), fundsOf(t, s, apart, id)
			if got != want {
				rt.Errorf("account %s is at %s after one batch, %s after many", id, got, want)
			}
		}
	})
}

func fundsOf(t testing.TB, s *Service, merchantID int64, id string) string {
	t.Helper()
	account := account(t, s, merchantID, id)
	return fmt.Sprintf("%d with %d held", account.Posted, account.Held)
}

// drawSteps draws operations that can share a batch: each has a key of its own, and
// none breaks a rule that is checked before the batch.
func drawSteps(t *rapid.T) (steps []step) {
	seen := map[string]bool{}
	for range rapid.IntRange(2, 12).Draw(t, "steps") {
		if s := drawStep(t); !seen[s.key] {
			seen[s.key] = true
			steps = append(steps, s)
		}
	}
	return steps
}

func drawStep(t *rapid.T) step {
	const retry = "retry" // of a charge of the opening
	operation := rapid.SampledFrom([]string{
		operationCharge, operationCharge, operationCapture, operationCancel, operationExpire,
		operationRefund, operationRefund, operationSettle, retry,
	}).Draw(t, "operation")
	s := step{request: request{operation: operation}, key: drawKey(t)}
	s.payment = rapid.IntRange(0, len(opening)-1).Draw(t, "payment")
	minor := rapid.Int64Range(0, 12).Draw(t, "amount")
	switch operation {
	case retry:
		if s.payment == openingAtProcessor {
			s.payment = 0 // in the batch of its settlement, a retry does not see the answer
		}
		s.key = fmt.Sprint("opening ", s.payment)
		s.request = request{operation: operationCharge, charge: opening[s.payment]}
	case operationSettle:
		s.payment = openingAtProcessor
		s.request = settling(fmt.Sprint("opening ", s.payment),
			rapid.SampledFrom([]Status{StatusSucceeded, StatusDeclined}).Draw(t, "word"))
		s.by = rapid.SampledFrom([]string{"lease 1", "lease 2", "event"}).Draw(t, "by")
		s.key = s.by
	case operationExpire:
		s.payment = len(opening) - 1
		s.key = operationExpire
	case operationCharge:
		s.charge = drawCharge(t)
		s.charge.Amount = usd(minor + 1)
		if s.charge.SourceAccount == s.charge.DestinationAccount {
			s.charge.SourceAccount = "world"
		}
	default:
		if minor > 0 { // else all
			s.amount = &minor
		}
		if rapid.IntRange(0, 9).Draw(t, "key of another request") == 0 {
			s.key = "opening 0"
		}
	}
	return s
}
