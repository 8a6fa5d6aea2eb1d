package httpapi_test

import (
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// The service ends an authorization under a key of its own. No key of a caller is that
// key, whatever its name: else a caller could keep money held for ever.
func TestNoKeyOfACallerKeepsAnAuthorizationOpen(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := newInstanceWith(t, db.URL, settings{lifetime: time.Microsecond})
	m := newMerchant(t, db, in, in)
	held := m.authorize("hold", 400)
	name := "expire:" + strings.TrimPrefix(held, "/payments/")
	paid := m.charge(name, aliceToShop(1)).want(201)

	m.wantExpiredAuthorizations(in, 1)
	if p := m.get(held).payment(); p.Status != "canceled" || p.CancellationReason != "expired" {
		t.Errorf("a caller's key keeps the authorization open: it is %+v", p)
	}
	m.wantHeld(aliceHas-1, 0)
	if in.logged("level=INFO", "request_id=req_", "payment_id="+name[len("expire:"):],
		"operation=expire result=done duration_seconds=") == "" {
		t.Error("the log has no line about the expiry")
	}
	m.wantExpiredAuthorizations(in, 0)
	m.wantCount(1, `SELECT count(*) FROM idempotency_keys
		WHERE merchant_id = $1 AND key = $2 AND scope <> 'client'`, m.id, name)
	m.retry(name, aliceToShop(1)).wantReplayOf(paid)
}
