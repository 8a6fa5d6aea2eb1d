package client_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/client"
	"github.com/paymentsvc/paymentsvc/internal/app"
	"github.com/paymentsvc/paymentsvc/internal/httpapi"
	"github.com/paymentsvc/paymentsvc/lab/inprocess"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// The service turns requests away, and says for how long. Callers who keep to it are all served, each once.
func TestARateLimitIsWaitedFor(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := inprocess.Start(t, db.URL, func(c *app.Config) { c.RateLimit = httpapi.RateLimit{PerSecond: 20, Burst: 20} })
	merchant := journal.NewMerchant(t, in, db.URL)
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	t.Cleanup(transport.CloseIdleConnections)
	var limited atomic.Int64
	wire := &recorder{next: transport, spoil: func(_ int, r *http.Response) (*http.Response, error) {
		if r.StatusCode == http.StatusTooManyRequests {
			limited.Add(1)
			if r.Header.Get("Retry-After") == "" {
				t.Error("a 429 without Retry-After")
			}
		}
		return r, nil
	}}
	c := newClient(t, client.Options{
		URL: in.URL(), APIKey: merchant.APIKey, Transport: wire, BackoffBase: time.Second, BackoffMax: time.Second, AttemptsMax: 50,
		RetryBudget: 1000,
	})
	const n = 40
	var calling sync.WaitGroup
	for i := range n {
		calling.Go(func() {
			paid, err := c.Charge(t.Context(), client.NewKey(), client.Charge{
				Amount: int64(i + 1), Currency: journal.Currency, SourceAccount: journal.World, DestinationAccount: journal.Shops[0],
			})
			if err != nil || paid.Replayed {
				t.Errorf("charge %d: %+v, %v", i, paid, err)
			}
		})
	}
	calling.Wait()
	wire.checkKeys(t)
	if limited.Load() == 0 {
		t.Error("nothing was turned away, so this test shows nothing")
	}
	var payments, sum int
	if err := db.Pool.QueryRow(t.Context(), `SELECT count(*), sum(amount) FROM payments`).Scan(&payments, &sum); err != nil {
		t.Fatal(err)
	}
	if payments != n || sum != n*(n+1)/2 {
		t.Errorf("%d payments of %d in all", payments, sum)
	}
}
