package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/lab/await"
)

// retention is the shortest that the service starts with.
const retention = time.Second

// A key that went with its answer would let a late retry charge again.
func TestAKeyIsKeptForEverAlsoWithoutItsAnswer(t *testing.T) {
	withSettings(t, settings{retention: retention}, func(t *testing.T, m *merchant) {
		paid := m.charge("paid", aliceToShop(100)).want(http.StatusCreated)
		declined := m.charge("declined", aliceToShop(aliceHas)).want(http.StatusPaymentRequired)
		m.awaitExpiry("paid", aliceToShop(100), paid)
		m.awaitExpiry("declined", aliceToShop(aliceHas), declined)
		m.fund(m.first, "alice", aliceHas)

		for _, deleted := range []bool{false, true} { // whether the reaper has been there
			answers := 2
			if deleted {
				m.reap(retention)
				answers = 0
			}
			m.wantCount(answers, `
				SELECT count(*)
				FROM idempotency_keys k
				JOIN idempotency_answers a ON a.merchant_id = k.merchant_id AND a.request_id = k.request_id
				WHERE k.merchant_id = $1 AND k.key IN ('paid', 'declined')`, m.id)
			m.wantExpired("paid", aliceToShop(100), paid)
			m.wantExpired(`"paid"`, aliceToShop(100), paid) // another spelling of the key
			m.wantExpired("declined", aliceToShop(aliceHas), declined)
			for _, key := range []string{"paid", "declined"} {
				m.retry(key, aliceToShop(1)).wantProblem(http.StatusUnprocessableEntity, "idempotency_key_reused")
			}
		}
		m.get("/payments/" + paid.paymentID()).want(http.StatusOK)
		m.wantUnderKey("paid", string(paid.body))
		m.wantBalance("shop", 100)
		m.wantPayments(2)
	})
}

// awaitExpiry sends the request again until its answer has expired, and checks that it does so at the very moment when
// it is due: counted from created_at, by the database's clock.
func (m *merchant) awaitExpiry(key string, b body, first *answer) {
	m.t.Helper()
	var createdAt time.Time
	if err := m.db.Pool.QueryRow(context.Background(), `
		SELECT p.created_at
		FROM payments p
		WHERE p.merchant_id = $1 AND p.idempotency_key = $2`, m.id, key).Scan(&createdAt); err != nil {
		m.t.Fatal(err)
	}
	await.Until(m.t, patience, "the answer has expired", func() bool {
		before := m.databaseTime()
		again := m.retry(key, b)
		after := m.databaseTime()
		if again.status == http.StatusConflict {
			if after.Before(createdAt.Add(retention)) {
				m.t.Errorf("it expired when it was %s old", after.Sub(createdAt))
			}
			return true
		}
		again.wantReplayOf(first)
		if !before.Before(createdAt.Add(retention)) {
			m.t.Errorf("it was still replayed when it was %s old", before.Sub(createdAt))
		}
		return false
	})
}

func (m *merchant) wantExpired(key string, b body, first *answer) {
	m.t.Helper()
	for _, in := range []*instance{m.first, m.other} {
		expired := m.chargeOn(in, key, b.String()).wantProblem(http.StatusConflict, "idempotency_key_expired").wantFresh()
		if expired.paymentID() != first.paymentID() {
			expired.fail("does not name %s", first.paymentID())
		}
	}
}

// reap deletes what an instance's background worker would delete now, and returns how many answers.
func (m *merchant) reap(retention time.Duration) int {
	m.t.Helper()
	deleted, err := idempotency.Reap(context.Background(), m.db.Pool, retention, 1_000)
	if err != nil {
		m.t.Error(err)
	}
	return deleted
}

func TestRetriesWhileTheReaperRunsNeverChargeAgain(t *testing.T) {
	withSettings(t, settings{retention: retention}, func(t *testing.T, m *merchant) {
		const keys = 4
		first := make([]*answer, keys)
		for i := range first {
			first[i] = m.charge(fmt.Sprint("key ", i), aliceToShop(1)).want(http.StatusCreated)
		}
		reaped, allExpired := 0, make(chan struct{})
		var retries, reaper sync.WaitGroup
		reaper.Go(func() {
			for {
				reaped += m.reap(retention)
				select {
				case <-allExpired:
					return
				default:
				}
			}
		})
		for i := range 2 * keys {
			retries.Go(func() { m.retryUntilExpired(fmt.Sprint("key ", i/2), m.either(i), first[i/2]) })
		}
		retries.Wait()
		close(allExpired)
		reaper.Wait()
		if reaped < keys {
			t.Errorf("only %d answers were reaped", reaped)
		}
		m.wantBalance("shop", keys)
		m.wantPayments(keys)
	})
}

// retryUntilExpired sends a charge of one cent again and again, for as long as it is replayed and a little longer.
func (m *merchant) retryUntilExpired(key string, in *instance, first *answer) {
	m.t.Helper()
	for expired := 0; expired < 20; {
		again := m.chargeOn(in, key, aliceToShop(1).String())
		switch {
		case again.status == http.StatusConflict && again.paymentID() == first.paymentID():
			expired++
		case again.status == http.StatusCreated && again.replayed() && expired == 0:
			again.wantReplayOf(first)
		default:
			again.fail("is neither the first one's answer nor the news that it has expired (%d times told)", expired)
			return
		}
	}
}
