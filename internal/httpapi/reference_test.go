package httpapi_test

import (
	"fmt"
	"net/http"
	"testing"
)

// Row 13 of the contract.
func TestAReferenceIsPaidOnce(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		order := aliceToShop(100).with("reference", "order-1017")
		first := m.charge("k1", order).want(http.StatusCreated)
		for _, again := range []body{order, order.with("amount", 5), order.with("source_account", "world")} {
			for range 2 {
				refused := m.retry("k2", again).wantProblem(http.StatusConflict, "duplicate_reference")
				refused.wantErrorAt("/reference")
				if refused.paymentID() != first.paymentID() {
					refused.fail("does not name %s, which has the reference", first.paymentID())
				}
			}
		}
		m.retry("k1", order).wantReplayOf(first)
		m.wantShopGot(100)

		m.charge("k2", order.with("reference", "order-1018")).want(http.StatusCreated).wantFresh()
		m.retry("k3", order.with("reference", "ORDER-1017")).want(http.StatusCreated)
		m.another(t).charge("k1", order).want(http.StatusCreated).wantFresh()
	})
}

func TestADeclinedPaymentGivesItsReferenceBack(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		order := aliceToShop(aliceHas+1).with("reference", "order-1017")
		declined := m.charge("k1", order).wantProblem(http.StatusPaymentRequired, "insufficient_funds")
		m.retry("k2", order).wantProblem(http.StatusPaymentRequired, "insufficient_funds").wantFresh()
		m.fund(m.first, "alice", 1)
		paid := m.charge("k3", order).want(http.StatusCreated)

		m.retry("k1", order).wantReplayOf(declined)
		refused := m.retry("k4", order).wantProblem(http.StatusConflict, "duplicate_reference")
		if refused.paymentID() != paid.paymentID() {
			refused.fail("does not name %s, which was paid", paid.paymentID())
		}
		m.wantBalance("shop", aliceHas+1)
	})
}

func TestAReferenceThatManyClaimAtOnceIsPaidOnce(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		for round := range 3 {
			order := aliceToShop(100).with("reference", fmt.Sprint("order-", round))
			key := func(i int) string { return fmt.Sprint("key ", round, " ", i) }
			answers := m.crowd(50, func(i int) (string, body) { return key(i), order })

			winner := -1
			for i, a := range answers {
				if a.status == http.StatusCreated {
					winner = i
				}
			}
			if winner < 0 {
				t.Fatal("nobody paid")
			}
			for i, a := range answers {
				if i != winner && a.wantProblem(http.StatusConflict, "duplicate_reference").paymentID() != answers[winner].paymentID() {
					a.fail("does not name %s, which has the reference", answers[winner].paymentID())
				}
			}
			m.retry(key(winner), order).wantReplayOf(answers[winner])
			m.retry(key((winner+1)%50), order).wantProblem(http.StatusConflict, "duplicate_reference")
			m.wantBalance("shop", int64(100*(round+1)))
			m.wantPayments(round + 1)
		}
	})
}

// Who cannot pay never keeps the reference from who can.
func TestAReferenceGoesToWhoCanPay(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		for round := range 3 {
			order := aliceToShop(100).with("reference", fmt.Sprint("order-", round))
			answers := m.crowd(40, func(i int) (string, body) {
				key := fmt.Sprint("key ", round, " ", i)
				if i/2%2 == 0 {
					return key, order.with("amount", aliceHas+1)
				}
				return key, order
			})
			paid := 0
			for i, a := range answers {
				switch {
				case a.status == http.StatusCreated && i/2%2 == 1:
					paid++
				case a.status == http.StatusPaymentRequired && i/2%2 == 0:
				default:
					a.wantProblem(http.StatusConflict, "duplicate_reference")
				}
			}
			if paid != 1 {
				t.Errorf("the reference was paid %d times", paid)
			}
			m.wantBalance("shop", int64(100*(round+1)))
		}
	})
}
