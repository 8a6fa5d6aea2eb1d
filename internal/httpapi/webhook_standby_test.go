package httpapi_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// A failover may lose an event that only this server has. A receiver must not be told.
func TestWebhookLeavesOnlyWhenTheStandbyHasIt(t *testing.T) {
	t.Parallel()
	m, adminURL := onDurable(t, settings{requestTimeout: 2 * time.Second, privateReceivers: true})
	got := make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r.Header.Get("webhook-id")
	}))
	t.Cleanup(receiver.Close)
	m.putWebhook("erp", `{"url":"`+receiver.URL+`"}`).want(201)
	m.work(t)
	m.charge("before", aliceToShop(1)).want(201)
	<-got

	standby := pgtest.NewStandby(t, adminURL)
	comeBack := standby.Leave(t)
	m.chargeUnconfirmed(t, standby)
	// A transaction of the harness waits for the standby, too, and holds the feed back.
	admin, err := pgxpool.New(t.Context(), adminURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	await.Until(t, patience, "the fan-out has failed", func() bool {
		if _, err := admin.Exec(t.Context(), `
			SELECT pg_cancel_backend(pid) FROM pg_stat_activity
			WHERE wait_event = 'SyncRep'`); err != nil {
			t.Fatal(err)
		}
		return m.first.Log.Count("the fan-out of webhooks failed") > 0
	})
	if len(got) > 0 {
		t.Error("the receiver has the event")
	}
	comeBack()
	<-got
	m.charge("k", aliceToShop(1)).want(201)
}
