package httpapi_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/pgtest"
	"github.com/paymentsvc/paymentsvc/test/service"
)

// FAULTS 19. A COMMIT whose wait for a synchronous standby is cancelled (by somebody, or by statement_timeout) succeeds with a
// WARNING, and no standby has it. Another COMMIT, which has waited, is what PUT, PATCH and DELETE acknowledge by; also where
// they found nothing to do.
func TestWhatHasNoKeyIsAcknowledgedOnlyWhenTheStandbyHasIt(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Durable(t, nil)
	pool, err := pgxpool.New(t.Context(), cluster.AdminURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	in := newInstance(t, cluster.URL())
	m := newMerchant(t, &pgtest.DB{URL: cluster.URL(), Pool: pool}, in, in)
	payment := "/payments/" + m.charge("k", aliceToShop(1)).want(http.StatusCreated).payment().ID
	standby := service.NewStandby(t, cluster.AdminURL())
	for _, each := range []struct {
		what   string
		send   func() *answer
		status int
	}{
		{"an account is made", func() *answer { return m.put("till", `{"currency":"USD"}`) }, http.StatusCreated},
		{"it is made again", func() *answer { return m.put("till", `{"currency":"USD"}`) }, http.StatusOK},
		{"it is closed", func() *answer { return m.close("till") }, http.StatusNoContent},
		{"it is closed again", func() *answer { return m.close("till") }, http.StatusNoContent},
		{"a payment is edited", func() *answer { return m.patch(payment, `"1"`, `{"description":"new"}`) }, http.StatusOK},
		{"it is edited again", func() *answer { return m.patch(payment, `"2"`, `{"description":"new"}`) }, http.StatusOK},
	} {
		comeBack := standby.Leave(t)
		answered := make(chan *answer, 1)
		go func() { answered <- each.send() }()
		service.Await(t, 10*time.Second, each.what+": a COMMIT of its own waits", func() bool {
			if _, err := pool.Exec(context.Background(), `
				SELECT pg_cancel_backend(pid) FROM pg_stat_activity
				WHERE wait_event = 'SyncRep' AND application_name = 'paymentsvc'`); err != nil {
				t.Fatal(err)
			}
			return len(answered) > 0 || waitingMoney(t, pool) == 1
		})
		if len(answered) > 0 {
			t.Errorf("%s: it is acknowledged, and no standby has it", each.what)
		}
		comeBack()
		(<-answered).want(each.status)
	}
}

// waitingMoney is how many money transactions wait for a standby.
func waitingMoney(t *testing.T, pool *pgxpool.Pool) (n int) {
	t.Helper()
	if err := pool.QueryRow(context.Background(), `
		SELECT count(*) FROM pg_stat_activity
		WHERE wait_event = 'SyncRep' AND application_name = 'paymentsvc-money'`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
