package httpapi_test

import (
	"context"
	"net/http"
	"testing"
)

// The version is compared by the statement that changes the account, so a change that
// commits while the statement waits for the row is seen. Compared before it, the change
// would be lost.
func TestIfMatchSeesAChangeThatItWaitedFor(t *testing.T) {
	m := onOneInstance(t)
	in := m.first
	for _, conditional := range []call{
		{method: "DELETE"},
		{method: "PUT", body: `{"currency":"USD","name":"mine"}`},
	} {
		t.Run(conditional.method, func(t *testing.T) {
			m := m.in(t)
			id := "changed-before-" + conditional.method
			m.put(id, `{"currency":"USD","name":"first"}`).want(201)
			conditional.path = "/accounts/" + id
			conditional.header = http.Header{"If-Match": {`"1"`}}

			rival, err := m.db.Pool.Begin(t.Context())
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
			(<-answered).wantProblem("precondition_failed")
			got := m.get(conditional.path).account()
			if got.Name != "theirs" || got.Status != "open" || got.Version != 2 {
				t.Errorf("it undid a change that its sender had not seen: %+v", got)
			}
		})
	}
}

// What is spent or held stays covered: a limit below it is refused.
func TestOverdraftLimitStaysAboveWhatIsInUse(t *testing.T) {
	m := onOneInstance(t)
	m.put("alice", `{"currency":"USD","overdraft_limit":100}`).want(200)
	held := m.authorize("hold", aliceHas+60)
	for _, low := range []string{`{"currency":"USD","overdraft_limit":59}`, `{"currency":"USD"}`} {
		m.put("alice", low).wantProblem("overdraft_in_use")
	}
	m.put("alice", `{"currency":"USD","overdraft_limit":60}`).want(200)
	m.post("cancel", held+"/cancel", "").want(200)
	m.charge("k", aliceToShop(aliceHas+60)).want(201)
	m.put("alice", `{"currency":"USD","overdraft_limit":59}`).
		wantProblem("overdraft_in_use")
	m.put("alice", `{"currency":"USD","overdraft_limit":60}`).want(200)
}
