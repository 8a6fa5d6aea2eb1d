package httpapi_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/pgtest"
	"github.com/paymentsvc/paymentsvc/test/service"
)

// keyless is a merchant of an instance whose database has a standby.
type keyless struct {
	*merchant
	standby *service.Standby
	payment string // the path of one
}

func newKeyless(t *testing.T, s settings) *keyless {
	t.Helper()
	t.Parallel()
	cluster := pgtest.Durable(t, nil)
	pool, err := pgxpool.New(t.Context(), cluster.AdminURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	in := newInstanceWith(t, cluster.URL(), s)
	m := newMerchant(t, &pgtest.DB{URL: cluster.URL(), Pool: pool}, in, in)
	payment := "/payments/" + m.charge("k", aliceToShop(1)).want(http.StatusCreated).payment().ID
	return &keyless{merchant: m, standby: service.NewStandby(t, cluster.AdminURL()), payment: payment}
}

// cancelWaits sends a request and cancels its own COMMIT's wait for the standby, until it is answered or another COMMIT waits.
func (k *keyless) cancelWaits(send func() *answer) chan *answer {
	k.t.Helper()
	answered := make(chan *answer, 1)
	go func() { answered <- send() }()
	service.Await(k.t, 10*time.Second, "a COMMIT waits which nobody cancels", func() bool {
		if _, err := k.db.Pool.Exec(context.Background(), `
			SELECT pg_cancel_backend(pid) FROM pg_stat_activity
			WHERE wait_event = 'SyncRep' AND application_name = 'paymentsvc'`); err != nil {
			k.t.Fatal(err)
		}
		return len(answered) > 0 || k.moneyWaits() > 0
	})
	return answered
}

// moneyWaits is how many money transactions wait for the standby.
func (k *keyless) moneyWaits() (n int) {
	k.t.Helper()
	if err := k.db.Pool.QueryRow(context.Background(), `
		SELECT count(*) FROM pg_stat_activity
		WHERE wait_event = 'SyncRep' AND application_name = 'paymentsvc-money'`).Scan(&n); err != nil {
		k.t.Fatal(err)
	}
	return n
}

// FAULTS 19. A COMMIT whose wait for a synchronous standby is cancelled (by somebody, or by statement_timeout) succeeds with a
// WARNING, and no standby has it. Another COMMIT, which has waited, is what PUT, PATCH and DELETE acknowledge by; also where
// they found nothing to do.
func TestWhatHasNoKeyIsAcknowledgedOnlyWhenTheStandbyHasIt(t *testing.T) {
	k := newKeyless(t, settings{})
	for _, each := range []struct {
		what   string
		send   func() *answer
		status int
	}{
		{"an account is made", func() *answer { return k.put("till", `{"currency":"USD"}`) }, http.StatusCreated},
		{"it is made again", func() *answer { return k.put("till", `{"currency":"USD"}`) }, http.StatusOK},
		{"it is closed", func() *answer { return k.close("till") }, http.StatusNoContent},
		{"it is closed again", func() *answer { return k.close("till") }, http.StatusNoContent},
		{"a payment is edited", func() *answer { return k.patch(k.payment, `"1"`, `{"description":"new"}`) }, http.StatusOK},
		{"it is edited again", func() *answer { return k.patch(k.payment, `"2"`, `{"description":"new"}`) }, http.StatusOK},
	} {
		comeBack := k.standby.Leave(t)
		answered := k.cancelWaits(each.send)
		if len(answered) > 0 {
			t.Errorf("%s: it is acknowledged, and no standby has it", each.what)
		}
		comeBack()
		(<-answered).want(each.status)
	}
}

func TestWhatNoStandbyHasIsUnavailableAndMayBeSentAgain(t *testing.T) {
	k := newKeyless(t, settings{moneyTimeout: 500 * time.Millisecond})
	for _, each := range []struct {
		what  string
		send  func() *answer
		again int
	}{
		{"an account is made", func() *answer { return k.put("till", `{"currency":"USD"}`) }, http.StatusOK},
		{"it is closed", func() *answer { return k.close("till") }, http.StatusNoContent},
		{"a payment is edited", func() *answer { return k.patch(k.payment, `*`, `{"description":"new"}`) }, http.StatusOK},
		{
			"a version of it is edited", func() *answer { return k.patch(k.payment, `"2"`, `{"description":"newer"}`) },
			http.StatusPreconditionFailed,
		},
	} {
		comeBack := k.standby.Leave(t)
		refused := (<-k.cancelWaits(each.send)).wantProblem(http.StatusServiceUnavailable, "unavailable")
		if detail := refused.problem().Detail; !strings.Contains(detail, "it is done, but") {
			t.Errorf("%s: it says %q", each.what, detail)
		}
		comeBack()
		if got := each.send(); got.status != each.again {
			t.Errorf("%s: sent again, it answers %d and not %d", each.what, got.status, each.again)
		}
	}
}
