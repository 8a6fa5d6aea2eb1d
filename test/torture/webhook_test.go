package torture

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/service"
)

// The instance is killed while the receiver has the request and before the answer. Once
// the lease has ended, another instance sends the same event under the same id.
func TestWebhookOfAKilledInstanceIsSentAgainUnderItsID(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	settings := []string{service.AllowDataLoss, "WEBHOOK_ALLOW_PRIVATE_ADDRESSES=true"}
	first := service.Start(t, db.URL, settings...)
	merchant := journal.NewMerchant(t, first, db.URL)
	var mu sync.Mutex
	var ids []string // guarded by mu
	received := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), ids...)
	}
	receiver := httptest.NewServer(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			mu.Lock()
			ids = append(ids, r.Header.Get("webhook-id"))
			number := len(ids)
			mu.Unlock()
			if number == 1 {
				first.Kill()
			}
			w.WriteHeader(http.StatusNoContent)
		}))
	t.Cleanup(receiver.Close)
	if answer := merchant.Do(t.Context(), http.MethodPut, first.URL()+"/webhook-endpoints/erp", "",
		fmt.Appendf(nil, `{"url":%q}`, receiver.URL)); answer.Status != http.StatusCreated {
		t.Fatal(answer)
	}
	merchant.Charge(t.Context(), first.URL(), "k", journal.NewCharge(100)) // answered or not
	await.Until(t, time.Minute, "the instance is killed", first.Ended)

	conn, err := pgx.Connect(t.Context(), db.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	tag, err := conn.Exec(t.Context(), `
		UPDATE webhook_deliveries SET next_attempt_at = clock_timestamp() -- the lease has ended
		WHERE status = 'pending' AND lease IS NOT NULL`)
	if err != nil || tag.RowsAffected() != 1 {
		t.Fatalf("%d deliveries are pending under a lease, %v; want 1", tag.RowsAffected(), err)
	}
	service.Start(t, db.URL, settings...)
	await.Until(t, time.Minute, "the event is sent again and marked", func() (marked bool) {
		if err := conn.QueryRow(t.Context(), `
			SELECT EXISTS (SELECT FROM webhook_deliveries WHERE status = 'delivered')`,
		).Scan(&marked); err != nil {
			t.Fatal(err)
		}
		return marked
	})
	if got := received(); len(got) != 2 || got[0] != got[1] {
		t.Errorf("the receiver got %v, want one id twice", got)
	}
}
