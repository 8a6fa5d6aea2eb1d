package httpapi_test

import (
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/await"
)

func TestAnAccountIsClosedHoweverOftenItIsDeleted(t *testing.T) {
	m := onTwoInstances(t)
	for range 3 {
		m.close("shop").want(204)
	}
	if got := m.get("/accounts/shop").want(200).account(); got.Status != "closed" ||
		got.Version != 2 {
		t.Errorf("it is %+v", got)
	}
	m.close("missing").wantProblem("not_found")
	m.close("-not-an-id").wantProblem("not_found")
	m.close("processor:stripe:USD").wantProblem("unprocessable")
}

func TestAnAccountThatIsNotEmptyStaysOpen(t *testing.T) {
	m := onTwoInstances(t)
	m.close("alice").wantProblem("account_not_empty")
	m.close("world").wantProblem("account_not_empty") // it owes what others have
	m.charge("all of it", aliceToShop(aliceHas)).want(201)
	m.close("alice").want(204)
	m.close("shop").wantProblem("account_not_empty")

	// An open payment is the business of both of its accounts, also where none of their
	// own money is involved.
	m.put("buyer", `{"currency":"USD","overdraft_limit":5}`).want(201)
	m.put("seller", `{"currency":"USD"}`).want(201)
	hold := aliceToShop(5).with("source_account", "buyer").with("destination_account",
		"seller").with("capture", false)
	held := m.charge("hold", hold).want(201)
	for _, account := range []string{"buyer", "seller"} {
		m.close(account).wantProblem("account_not_empty")
	}
	m.post("void", held.location()+"/cancel", "").want(200)
	for _, account := range []string{"buyer", "seller"} {
		m.close(account).want(204)
	}
}

func TestAClosedAccountTakesPartInNothing(t *testing.T) {
	m := onTwoInstances(t)
	paid := m.charge("before", aliceToShop(100)).want(201)
	back := aliceToShop(100).with("source_account", "shop").with("destination_account", "alice")
	m.charge("back", back).want(201)
	m.close("shop").want(204)
	for member, order := range map[string]body{
		"/destination_account": aliceToShop(1), "/source_account": back.with("amount", 1),
	} {
		m.charge("k", order).wantProblem("account_closed").wantErrorAt(member)
	}
	m.put("shop", `{"currency":"USD","name":"new"}`).wantProblem("account_closed")
	m.retry("before", aliceToShop(100)).wantReplayOf(paid)
	if got := m.entries("/accounts/shop/entries"); len(got.Data) != 2 {
		t.Errorf("its statement has %d entries", len(got.Data))
	}
}

// A refund reaches a closed account, and would be stuck there otherwise. A late upsert
// must not open it by accident.
func TestClosedAccountIsOpenedByAVersionOnly(t *testing.T) {
	m := onTwoInstances(t)
	path := m.charge("all", aliceToShop(aliceHas)).want(201).location()
	m.close("alice").want(204)
	m.post("r", path+"/refunds", "").want(201)
	m.wantBalance("alice", aliceHas)

	const open = `{"currency":"USD","name":"Alice","status":"open"}`
	m.put("alice", open).wantProblem("precondition_required")
	m.putIfMatch("alice", `"1"`, open).wantProblem("precondition_failed")
	m.putIfMatch("alice", `"2"`, `{"currency":"USD","status":null}`).wantProblem("account_closed")
	m.putIfMatch("alice", `"2"`, strings.Replace(open, "USD", "EUR", 1)).
		wantProblem("account_currency_fixed")
	for _, status := range []string{"closed", "Open", ""} {
		m.put("alice", body{"currency": "USD", "status": status}.String()).
			wantProblem("unprocessable").wantErrorAt("/status")
	}
	for _, tag := range []string{`"2"`, `"3"`, "*"} { // those after the first find it open
		got := m.putIfMatch("alice", tag, open).want(200).account()
		if got.Status != "open" || got.Version != 3 || got.Balance != aliceHas ||
			got.Name != "Alice" {
			t.Errorf("it is %+v", got)
		}
	}
	if got := m.entries("/accounts/alice/entries"); len(got.Data) != 4 {
		t.Errorf("its statement has %d entries", len(got.Data))
	}
	m.charge("again", aliceToShop(aliceHas)).want(201)
	m.close("alice").want(204)
	m.putIfMatch("alice", `"3"`, open).wantProblem("precondition_failed")
	m.putIfMatch("nobody", "*", open).wantProblem("precondition_failed")
}

// A charge that holds the account's row is waited for, and then the account is no
// longer empty; and the other way round.
func TestClosingWaitsForTheChargeThatHoldsTheAccount(t *testing.T) {
	m := onOneInstance(t)
	for _, first := range []string{"charge", "delete"} {
		id := first + "-first"
		m.put(id, `{"currency":"USD"}`).want(201)
		hold := map[string]func(string) func(){"charge": m.hold, "delete": m.lock}[first]
		release := hold(id)
		charged, closed := make(chan *answer, 1), make(chan *answer, 1)
		charge := func() {
			charged <- m.charge(id, aliceToShop(1).with("destination_account", id))
		}
		closing := func() { closed <- m.close(id) }
		if first == "charge" {
			go charge()
			m.awaitInFlight(1)
			go closing()
			m.awaitInFlight(2)
		} else {
			go closing()
			m.awaitInFlight(1) // it is first in the queue for the row
			go charge()
			await.Until(t, patience, "the charge waits behind it", func() bool {
				return m.inFlight() == 2 || m.first.Payments.Stats().Blocked == 1
			})
		}
		release()
		if first == "charge" {
			(<-charged).want(201)
			(<-closed).wantProblem("account_not_empty")
		} else {
			(<-closed).want(204)
			(<-charged).wantProblem("account_closed")
		}
	}
}
