package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/wire"
)

// A COMMIT that may not be believed acknowledges nothing, and the same request again
// finds out.
func TestUnkeyedWriteNeedsABelievedCommit(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	proxy := wire.Start(t, db.URL)
	in := newInstance(t, proxy.URL())
	for name, effect := range map[string]wire.Effect{
		"the wait for the synchronous standby was cancelled": wire.SyncRepCancelled,
		"the answer was lost":                                wire.LoseReply,
		"COMMIT was lost":                                    wire.DropBefore,
		"the server said ROLLBACK, and had rolled back":      wire.RollBackInstead,
		"COMMIT failed":                                      wire.FailWith("53100"),
		"COMMIT was refused":                                 wire.FailWith("42501"),
	} {
		t.Run(name, func(t *testing.T) {
			m := newMerchant(t, db, in, in)
			path := m.charge("k", aliceToShop(1)).want(201).location()
			tag := m.get(path).want(200).header.Get("ETag")
			for _, write := range []struct {
				send  func() *answer
				again int // the status of the same request again
			}{
				{func() *answer { return m.put("new", `{"currency":"USD"}`) }, http.StatusOK},
				// which changes nothing
				{func() *answer { return m.put("new", `{"currency":"USD"}`) }, http.StatusOK},
				{
					func() *answer { return m.putIfMatch("new", `"1"`, `{"currency":"USD"}`) },
					http.StatusOK,
				},
				{func() *answer { return m.close("new") }, http.StatusNoContent},
				{func() *answer { return m.close("new") }, http.StatusNoContent}, // likewise
				{
					func() *answer { return m.patch(path, tag, `{"description":"new"}`) },
					http.StatusPreconditionFailed,
				},
			} {
				fault := proxy.On(wire.Commit().From("paymentsvc"), effect)
				unconfirmed := write.send().wantProblem("unavailable")
				fault.Wait(t)
				if detail := unconfirmed.problem().Detail; !strings.Contains(detail,
					"it is done, but") {
					t.Errorf("it says %q", detail)
				}
				write.send().want(write.again)
			}
			if got := m.get("/accounts/new").want(200).account(); got.Status != "closed" ||
				got.Version != 2 {
				t.Errorf("the account is %+v", got)
			}
		})
	}
}

// newPayerBehindProxy is a merchant with a payment, whose instance reaches its database
// through the proxy.
func newPayerBehindProxy(t *testing.T) (m *merchant, proxy *wire.Proxy, payment string) {
	t.Helper()
	t.Parallel()
	db := pgtest.New(t)
	proxy = wire.Start(t, db.URL)
	in := newInstance(t, proxy.URL())
	m = newMerchant(t, db, in, in)
	return m, proxy, m.charge("k", aliceToShop(1)).want(201).location()
}

// Between a write and its confirmation another server may have taken over, without the
// write. So the server that has it confirms it, or nobody does.
func TestUnkeyedWriteIsConfirmedOnItsConnection(t *testing.T) {
	m, proxy, path := newPayerBehindProxy(t)
	tag := m.get(path).want(200).header.Get("ETag")
	for _, write := range []struct {
		statement string
		send      func() *answer
	}{
		{"INSERT INTO accounts", func() *answer { return m.put("new", `{"currency":"USD"}`) }},
		{"UPDATE accounts", func() *answer { return m.close("new") }},
		{"UPDATE payments", func() *answer { return m.patch(path, tag, `{"description":"new"}`) }},
	} {
		cut := proxy.On(wire.Statement(write.statement).From("paymentsvc"), wire.CutAfter)
		write.send().wantProblem("unavailable")
		cut.Wait(t)
	}
	if got := m.get("/accounts/new").want(200).account(); got.Status != "closed" {
		t.Errorf("the account is %+v: the cuts came too soon to show anything", got)
	}
}

// A refusal acknowledges nothing, so it waits for no COMMIT.
func TestRefusedUnkeyedWriteWaitsForNoCommit(t *testing.T) {
	m, proxy, path := newPayerBehindProxy(t)
	proxy.Forget()
	m.put("alice", `{"currency":"EUR"}`).wantProblem("account_currency_fixed")
	m.close("alice").wantProblem("account_not_empty")
	m.close("missing").wantProblem("not_found")
	m.patch(path, `"7"`, `{"description":"new"}`).wantProblem("precondition_failed")
	for _, statement := range proxy.Statements() {
		if statement.SQL == "COMMIT" {
			t.Errorf("a refusal waited for a COMMIT on %s", statement.App)
		}
	}
}
