package httpapi_test

import (
	"net/http"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

func TestAnAccountIsClosedHoweverOftenItIsDeleted(t *testing.T) {
	acrossTwoInstances(t, func(t *testing.T, m *merchant) {
		for range 3 {
			m.close("shop").want(http.StatusNoContent)
		}
		if got := m.get("/accounts/shop").want(http.StatusOK).account(); got.Status != "closed" || got.Version != 2 {
			t.Errorf("it is %+v", got)
		}
		for _, a := range atOnce(20, func(i int) *answer {
			return m.send(m.either(i), call{method: http.MethodDelete, path: "/accounts/shop"})
		}) {
			a.want(http.StatusNoContent)
		}
		m.close("missing").wantProblem(http.StatusNotFound, "not_found")
		m.close("-not-an-id").wantProblem(http.StatusNotFound, "not_found")
		m.close("processor:stripe:USD").wantProblem(http.StatusUnprocessableEntity, "unprocessable")
	})
}

func TestAnAccountThatIsNotEmptyStaysOpen(t *testing.T) {
	acrossTwoInstances(t, func(t *testing.T, m *merchant) {
		m.close("alice").wantProblem(http.StatusConflict, "account_not_empty")
		m.close("world").wantProblem(http.StatusConflict, "account_not_empty") // it owes what others have
		m.charge("all of it", aliceToShop(aliceHas)).want(http.StatusCreated)
		m.close("alice").want(http.StatusNoContent)
		m.close("shop").wantProblem(http.StatusConflict, "account_not_empty")

		// An open payment is the business of both of its accounts, also where none of their own money is involved.
		m.put("buyer", `{"currency":"USD","overdraft_limit":5}`).want(http.StatusCreated)
		m.put("seller", `{"currency":"USD"}`).want(http.StatusCreated)
		hold := aliceToShop(5).with("source_account", "buyer").with("destination_account", "seller").with("capture", false)
		held := m.charge("hold", hold).want(http.StatusCreated)
		for _, account := range []string{"buyer", "seller"} {
			m.close(account).wantProblem(http.StatusConflict, "account_not_empty")
			if got := m.get("/accounts/" + account).account(); got.Status != "open" || got.Version != 1 {
				t.Errorf("it is %+v", got)
			}
		}
		m.post("void", held.header.Get("Location")+"/cancel", "").want(http.StatusOK)
		for _, account := range []string{"buyer", "seller"} {
			m.close(account).want(http.StatusNoContent)
		}
	})
}

// RFC 9110, section 13.1.1: a condition that no longer holds because the request has been executed is not held against its retry.
func TestAnAccountIsClosedAtTheVersionThatItsOwnerHasSeen(t *testing.T) {
	acrossTwoInstances(t, func(t *testing.T, m *merchant) {
		closeIfMatch := func(account, tag string) *answer {
			return m.send(m.first, call{method: http.MethodDelete, path: "/accounts/" + account, header: http.Header{"If-Match": {tag}}})
		}
		m.put("shop", `{"currency":"USD","name":"changed"}`).want(http.StatusOK)
		for _, stale := range []string{`"1"`, `"3"`, `2`, `W/"2"`, `"x"`} {
			closeIfMatch("shop", stale).wantProblem(http.StatusPreconditionFailed, "precondition_failed")
		}
		closeIfMatch("shop", `"2"`).want(http.StatusNoContent)
		closeIfMatch("shop", `"2"`).want(http.StatusNoContent)
		closeIfMatch("missing", `"1"`).wantProblem(http.StatusNotFound, "not_found")
	})
}

func TestAClosedAccountTakesPartInNothing(t *testing.T) {
	acrossTwoInstances(t, func(t *testing.T, m *merchant) {
		paid := m.charge("before", aliceToShop(100)).want(http.StatusCreated)
		back := aliceToShop(100).with("source_account", "shop").with("destination_account", "alice")
		m.charge("back", back).want(http.StatusCreated)
		m.close("shop").want(http.StatusNoContent)
		m.charge("to it", aliceToShop(1)).wantProblem(http.StatusUnprocessableEntity, "account_closed").wantErrorAt("/destination_account")
		m.charge("from it", back.with("amount", 1)).
			wantProblem(http.StatusUnprocessableEntity, "account_closed").wantErrorAt("/source_account")
		m.put("shop", `{"currency":"USD","name":"new"}`).wantProblem(http.StatusConflict, "account_closed")
		m.put("shop", `{"currency":"EUR"}`).wantProblem(http.StatusConflict, "account_closed")
		m.retry("before", aliceToShop(100)).wantReplayOf(paid)
		if got := m.get("/accounts/shop").want(http.StatusOK).account(); got.Status != "closed" || got.Balance != 0 {
			t.Errorf("it is %+v", got)
		}
		if got := m.entries("/accounts/shop/entries"); len(got.Data) != 2 {
			t.Errorf("its statement has %d entries", len(got.Data))
		}
	})
}

// A charge that holds the account's row is waited for, and then the account is no longer empty; and the
// other way round.
func TestClosingWaitsForTheChargeThatHoldsTheAccount(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := newInstance(t, db.URL)
	m := newMerchant(t, db, in, in)
	for _, first := range []string{"charge", "delete"} {
		id := first + "-first"
		m.put(id, `{"currency":"USD"}`).want(http.StatusCreated)
		release := m.hold(id)
		charged, closed := make(chan *answer, 1), make(chan *answer, 1)
		charge := func() { charged <- m.charge(id, aliceToShop(1).with("destination_account", id)) }
		closing := func() { closed <- m.close(id) }
		if first == "charge" {
			go charge()
			m.awaitInFlight(1)
			go closing()
		} else {
			go closing()
			m.awaitInFlight(1)
			go charge()
		}
		m.awaitInFlight(2) // who came first is first in the queue for the row
		release()
		if first == "charge" {
			(<-charged).want(http.StatusCreated)
			(<-closed).wantProblem(http.StatusConflict, "account_not_empty")
		} else {
			(<-closed).want(http.StatusNoContent)
			(<-charged).wantProblem(http.StatusUnprocessableEntity, "account_closed")
		}
	}
}
