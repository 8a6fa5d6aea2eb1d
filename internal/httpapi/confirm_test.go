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

// Between a write and its confirmation another server may have taken over, without the
// write. So the server that has it confirms it, or nobody does.
func TestUnkeyedWriteIsConfirmedOnItsConnection(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	proxy := wire.Start(t, db.URL)
	in := newInstance(t, proxy.URL())
	m := newMerchant(t, db, in, in)
	path := m.charge("k", aliceToShop(1)).want(201).location()
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
