package payments

import (
	"context"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/audit"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/wire"
)

// An instance dies before a statement, and no other instance continues its operation.
// The key and the money are one transaction, so nothing of the operation is left, and
// the same key runs it anew. A key that was committed before its payment would stay
// taken for ever.
func TestInstanceThatDiesBeforeItsCommitLeavesNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	healthy := newService(t, db.URL)
	for _, c := range []operationCase{chargeCase, refundCase, beginCase, settleRefundCase} {
		for n := range statementsOf(t, db, healthy, c) {
			a := newTrial(t, healthy, c)
			dieBefore(t, db, a, n+1)
			violations, err := audit.Run(t.Context(), db.Pool, 10)
			if err != nil || len(violations) > 0 {
				t.Fatalf("before statement %d of a %s: left %v, %v", n, c.name, violations, err)
			}
			caller := a.caller()
			reply, err := a.request.send(t.Context(), healthy, caller)
			a.wantDone(caller, reply, err)
		}
	}
}

// statementsOf counts the statements of the operation on the money connection, in all
// its transactions. The last one is COMMIT.
func statementsOf(t *testing.T, db *pgtest.DB, healthy *Service, c operationCase) (n int) {
	t.Helper()
	proxy := wire.Start(t, db.URL)
	a, s := newTrial(t, healthy, c), newLoneWorker(t, proxy.URL(), hasty)
	caller := a.caller()
	reply, err := a.request.send(t.Context(), s, caller)
	a.wantDone(caller, reply, err)
	for _, statement := range proxy.Statements() {
		if statement.App == "paymentsvc-money" {
			n++
		}
	}
	return n
}

// dieBefore sends the operation to an instance that dies before its n-th statement.
func dieBefore(t *testing.T, db *pgtest.DB, a *trial, n int) {
	t.Helper()
	proxy := wire.Start(t, db.URL)
	s := newLoneWorker(t, proxy.URL(), func(c *Config) { c.Timeout = 3 * time.Second })
	held := proxy.On(committers(wire.Any()).Nth(n), wire.HoldBefore)
	ctx, leave := context.WithCancel(t.Context())
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = a.request.send(ctx, s, a.caller()) // the reply of a dead instance is lost
	}()
	held.Wait(t)
	proxy.Refuse()
	proxy.Cut()
	proxy.WaitBackendsGone(t)
	leave()
	<-answered
}
