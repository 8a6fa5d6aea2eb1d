package payments

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

const clearing = "processor:stripe:USD"

func openClearing(t testing.TB, s *Service, merchantID int64) {
	t.Helper()
	err := ledger.OpenClearing(context.Background(), s.pool, merchantID, processorName, "USD")
	if err != nil {
		t.Fatal(err)
	}
}

// send sends a request that is neither refused nor declined, and returns its payment.
func send(t testing.TB, s *Service, merchantID int64, key string, r request) uuid.UUID {
	t.Helper()
	caller := callerWith(merchantID, key)
	reply, err := r.send(context.Background(), s, caller)
	switch got := result(reply, err, caller); got {
	case begun, settled, "200", "201":
	default:
		t.Fatalf("%s under %q came to %s", r, key, got)
	}
	return reply.PaymentID
}

// attemptsOf are the attempts of a payment, with their states.
func attemptsOf(t testing.TB, s *Service, merchantID int64, payment uuid.UUID) (text string) {
	t.Helper()
	if err := s.pool.QueryRow(context.Background(), `
		SELECT coalesce('; ' || string_agg(operation || ' ' || state, ', '
			ORDER BY created_at, operation), '')
		FROM processor_attempts
		WHERE merchant_id = $1 AND payment_id = $2`, merchantID, payment).Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}

// cardFixture is a merchant with a card payment of 30 to b that is at the processor, under
// the key "first".
type cardFixture struct {
	*pgtest.DB
	s, other *Service
	merchant int64
	payment  uuid.UUID
	t        *testing.T
}

func newCardFixture(t *testing.T, first request) *cardFixture {
	t.Helper()
	db := pgtest.New(t)
	f := &cardFixture{DB: db, s: newService(t, db.URL), other: newService(t, db.URL), t: t}
	f.merchant = newMerchant(t, f.s, map[string]int64{"a": 0, "b": 0})
	f.payment = send(t, f.s, f.merchant, "first", first)
	return f
}

// on is the request about the payment of the fixture.
func (f *cardFixture) on(r request) request {
	r.payment = f.payment
	return r
}

func (f *cardFixture) want(want, key string, r request) Reply {
	f.t.Helper()
	caller := callerWith(f.merchant, key)
	reply, err := f.on(r).send(f.t.Context(), f.s, caller)
	if got := result(reply, err, caller); got != want {
		f.t.Errorf("%s came to %s, want %s", r, got, want)
	}
	return reply
}

func (f *cardFixture) exec(sql string, args ...any) {
	f.t.Helper()
	if _, err := f.Pool.Exec(f.t.Context(), sql, args...); err != nil {
		f.t.Fatal(err)
	}
}

// state is the payment, its attempts, and the funds of b and of the clearing account.
func (f *cardFixture) state() string {
	f.t.Helper()
	return fmt.Sprintf("%s%s; b has %s, clearing has %s",
		stateOf(f.t, f.s, f.merchant, f.payment), attemptsOf(f.t, f.s, f.merchant, f.payment),
		fundsOf(f.t, f.s, f.merchant, "b"), fundsOf(f.t, f.s, f.merchant, clearing))
}

func (f *cardFixture) wantState(want string) {
	f.t.Helper()
	if got := f.state(); got != want {
		f.t.Errorf("the payment is %s; want %s", got, want)
	}
}

const (
	stateProcessing = "processing, 0 captured, 0 refunded, version 1; charge open; " +
		"b has 0 with 0 held, clearing has 0 with 0 held"
	stateCharged = "succeeded, 30 captured, 0 refunded, version 2; charge settled; " +
		"b has 30 with 0 held, clearing has -30 with 0 held"
)
