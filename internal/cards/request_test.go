package cards

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/lab/await"
)

// request is one keyed request, which may be sent again.
type request func(*instance, payments.Caller) (payments.Reply, error)

func cents(minor int64) ledger.Money { return ledger.Money{Minor: minor, Currency: "USD"} }

// byCard is a charge of 10.00 by the payment method.
func byCard(method string) payments.Charge {
	return payments.Charge{Amount: cents(1000), PaymentMethod: method, DestinationAccount: "shop"}
}

func charging(c payments.Charge) request {
	return func(in *instance, caller payments.Caller) (payments.Reply, error) {
		return in.payments.Charge(in.t.Context(), caller, c)
	}
}

func authorizing(method string) request {
	c := byCard(method)
	c.AuthorizeOnly = true
	return charging(c)
}

func capturing(paymentID uuid.UUID, minor int64) request {
	return func(in *instance, caller payments.Caller) (payments.Reply, error) {
		return in.payments.Capture(in.t.Context(), caller,
			payments.Capture{PaymentID: paymentID, Amount: &minor})
	}
}

func canceling(paymentID uuid.UUID) request {
	return func(in *instance, caller payments.Caller) (payments.Reply, error) {
		return in.payments.Cancel(in.t.Context(), caller, paymentID)
	}
}

func refunding(paymentID uuid.UUID, minor int64) request {
	return func(in *instance, caller payments.Caller) (payments.Reply, error) {
		return in.payments.Refund(in.t.Context(), caller,
			payments.RefundRequest{PaymentID: paymentID, Amount: &minor})
	}
}

func callerWith(key string) payments.Caller {
	return payments.Caller{
		Key: idempotency.Key{
			MerchantID: merchantID, Scope: idempotency.ScopeClient, Value: key,
		},
		RequestID: uuid.Must(uuid.NewV7()),
	}
}

// send does what the API does with a request: it waits for the processor, up to a limit.
func (in *instance) send(key string, r request, limit time.Duration) (payments.Reply, error) {
	return in.sendAs(callerWith(key), r, limit)
}

func (in *instance) sendAs(
	caller payments.Caller, r request, limit time.Duration,
) (payments.Reply, error) {
	do := func() (payments.Reply, error) { return r(in, caller) }
	reply, err := do()
	if pending, ok := errors.AsType[*payments.InProgress](err); ok {
		return in.Await(in.t.Context(), pending, limit, do)
	}
	return reply, err
}

// begin sends a request that dies with its instance before the processor is asked.
func (in *instance) begin(key string, r request) *payments.InProgress {
	in.t.Helper()
	_, err := r(in, callerWith(key))
	pending, ok := errors.AsType[*payments.InProgress](err)
	if !ok {
		in.t.Fatalf("%s is not in progress: %v", key, err)
	}
	return pending
}

// finish repeats a request until it has its answer.
func (in *instance) finish(key string, r request) payments.Reply {
	in.t.Helper()
	var reply payments.Reply
	await.Until(in.t, patience, "the answer to "+key, func() bool {
		var err error
		reply, err = in.send(key, r, time.Second)
		if inProgress(err) || errors.Is(err, payments.ErrOutcomeUnknown) {
			return false
		}
		if err != nil {
			in.t.Fatalf("%s: %v", key, err)
		}
		return true
	})
	return reply
}

// want sends a request until it has its answer, and compares its status.
func (in *instance) want(status int, key string, r request) payments.Reply {
	in.t.Helper()
	reply := in.finish(key, r)
	if reply.Status != status {
		in.t.Errorf("%s: %d %s, want %d", key, reply.Status, reply.Body, status)
	}
	return reply
}

func inProgress(err error) bool {
	refusal, ok := errors.AsType[*payments.Refusal](err)
	return ok && refusal.Code == payments.CodeKeyInProgress
}

func wantRefusal(t *testing.T, err error, code payments.Code) {
	t.Helper()
	refusal, ok := err.(*payments.Refusal) //nolint:errorlint // never wrapped
	if !ok || refusal.Code != code || refusal.PaymentID == (uuid.UUID{}) {
		t.Errorf("%v, want the refusal %s with its payment", err, code)
	}
}
