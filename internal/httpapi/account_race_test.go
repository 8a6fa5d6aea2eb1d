package httpapi_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// The version is compared by the statement that changes the account, so a change that commits
// while the statement waits for the row is seen. Compared before it, the change would be lost.
func TestIfMatchSeesAChangeThatItWaitedFor(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := newInstance(t, db.URL)
	m := newMerchant(t, db, in, in)
	for _, conditional := range []call{
		{method: http.MethodDelete},
		{method: http.MethodPut, body: `{"currency":"USD","name":"mine"}`},
	} {
		t.Run(conditional.method, func(t *testing.T) {
			m := m.in(t)
			id := "changed-before-" + conditional.method
			m.put(id, `{"currency":"USD","name":"first"}`).want(http.StatusCreated)
			conditional.path = "/accounts/" + id
			conditional.header = http.Header{"If-Match": {`"1"`}}

			rival, err := db.Pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer rival.Rollback(context.Background())
			if _, err := rival.Exec(t.Context(), `
				UPDATE accounts SET name = 'theirs', version = version + 1
				WHERE merchant_id = $1 AND id = $2`, m.id, id); err != nil {
				t.Fatal(err)
			}
			answered := make(chan *answer, 1)
			go func() { answered <- m.send(in, conditional) }()
			m.awaitInFlight(1)
			if err := rival.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			(<-answered).wantProblem(http.StatusPreconditionFailed, "precondition_failed")
			got := m.get(conditional.path).account()
			if got.Name != "theirs" || got.Status != "open" || got.Version != 2 {
				t.Errorf("it undid a change that its sender had not seen: %+v", got)
			}
		})
	}
}

// What is held counts as spent: a limit below it is refused, and not an internal error.
func TestOverdraftLimitStaysAboveWhatIsHeld(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := newInstance(t, db.URL)
	m := newMerchant(t, db, in, in)
	m.put("alice", `{"currency":"USD","overdraft_limit":100}`).want(http.StatusOK)
	held := m.authorize("hold", aliceHas+60)
	for _, low := range []string{`{"currency":"USD","overdraft_limit":59}`, `{"currency":"USD"}`} {
		m.put("alice", low).wantProblem(http.StatusConflict, "overdraft_in_use")
	}
	m.put("alice", `{"currency":"USD","overdraft_limit":60}`).want(http.StatusOK)
	m.post("cancel", held+"/cancel", "").want(http.StatusOK)
	m.put("alice", `{"currency":"USD"}`).want(http.StatusOK)
}
