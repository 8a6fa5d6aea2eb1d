package httpapi_test

import (
	"context"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// A key that went with its answer would let a late retry charge again.
func TestKeyOutlivesItsAnswer(t *testing.T) {
	t.Parallel()
	const keptFor, behind, moment = 30 * 24 * time.Hour, 60 * 24 * time.Hour, time.Minute
	db := pgtest.New(t)
	databaseClock := newClock(t, db, behind)
	s := settings{retention: keptFor}
	m := newMerchant(t, db, newInstanceWith(t, db.URL, s), newInstanceWith(t, db.URL, s))
	paid := m.charge("paid", aliceToShop(100)).want(201)
	declined := m.charge("declined", aliceToShop(aliceHas)).want(402)
	databaseClock.forward(keptFor - moment)
	m.retry("paid", aliceToShop(100)).wantReplayOf(paid)
	m.retry("declined", aliceToShop(aliceHas)).wantReplayOf(declined)
	if n := m.reap(keptFor); n != 0 {
		t.Errorf("%d answers are gone before their time", n)
	}
	databaseClock.forward(moment)
	m.fund(m.first, "alice", aliceHas)

	for _, deleted := range []bool{false, true} { // whether the reaper has been there
		if deleted {
			// It finds answers by ids from the service's clock. With that clock ahead,
			// it comes late.
			databaseClock.forward(behind)
			if n := m.reap(keptFor); n == 0 {
				t.Error("no answer is gone after its time")
			}
		}
		m.wantExpired("paid", aliceToShop(100), paid)
		m.wantExpired(`"paid"`, aliceToShop(100), paid) // another spelling of the key
		m.wantExpired("declined", aliceToShop(aliceHas), declined)
		for _, key := range []string{"paid", "declined"} {
			m.retry(key, aliceToShop(1)).
				wantProblem("idempotency_key_reused")
		}
	}
	m.wantUnderKey("paid", string(paid.body))
	m.wantBalance("shop", 100)
	m.wantPayments(2)
}

func (m *merchant) wantExpired(key string, b body, first *answer) {
	m.t.Helper()
	for _, in := range []*instance{m.first, m.other} {
		expired := m.chargeOn(in, key,
			b.String()).wantProblem("idempotency_key_expired").wantFresh()
		if expired.paymentID() != first.paymentID() {
			expired.fail("does not name %s", first.paymentID())
		}
	}
}

// reap deletes what an instance's background worker would delete now, and returns how
// many answers.
func (m *merchant) reap(retention time.Duration) int {
	m.t.Helper()
	deleted, err := idempotency.Reap(context.Background(), m.db.Pool, retention, 1_000)
	if err != nil {
		m.t.Error(err)
	}
	return deleted
}
