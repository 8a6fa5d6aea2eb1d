package metrics_test

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/cards"
	"github.com/paymentsvc/paymentsvc/internal/httpapi"
	"github.com/paymentsvc/paymentsvc/internal/metrics"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
	"github.com/paymentsvc/paymentsvc/internal/webhooks"
)

// source is an instance's state under the test's control.
type source struct {
	notReady error
	stats    payments.Stats
	feedLag  time.Duration
	webhooks webhooks.Stats
	cards    cards.Stats
}

func newMetrics(t *testing.T) (*metrics.Metrics, *source) {
	t.Helper()
	pool, err := pgxpool.New(t.Context(),
		"postgres://nobody@127.0.0.1:1/nothing?sslmode=disable&pool_max_conns=7")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	s := &source{}
	return metrics.New(metrics.Sources{
		Ready:    func() error { return s.notReady },
		Payments: func() payments.Stats { return s.stats },
		FeedLag:  func() time.Duration { return s.feedLag },
		Webhooks: func() webhooks.Stats { return s.webhooks },
		Cards:    func() cards.Stats { return s.cards },
		Pools:    map[string]*pgxpool.Pool{"money": pool},
	}), s
}

// scrape is what Prometheus gets.
func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	if answer.Code != http.StatusOK {
		t.Fatalf("%d: %s", answer.Code, answer.Body)
	}
	return answer.Body.String()
}

func wantLines(t *testing.T, text string, want ...string) {
	t.Helper()
	lines := map[string]bool{}
	for scanner := bufio.NewScanner(strings.NewReader(text)); scanner.Scan(); {
		lines[scanner.Text()] = true
	}
	for _, line := range want {
		if !lines[line] {
			t.Errorf("there is no %s in\n%s", line, text)
		}
	}
}

func TestRequestsAreTimedInSeconds(t *testing.T) {
	t.Parallel()
	m, _ := newMetrics(t)
	m.Answered(&httpapi.Exchange{
		Method: "GET", Status: 404, Code: "not_found", Duration: 30 * time.Millisecond,
	})
	m.Answered(&httpapi.Exchange{Method: "GET", Status: 200, Duration: time.Hour, Streamed: true})
	const buckets = `paymentsvc_http_request_duration_seconds_bucket`
	const route = `method="GET",route="none"`
	wantLines(t, scrape(t, m),
		`paymentsvc_http_requests_total{code="not_found",`+route+`,status="404"} 1`,
		buckets+`{`+route+`,le="0.025"} 0`,
		buckets+`{`+route+`,le="0.05"} 1`,
		buckets+`{`+route+`,le="+Inf"} 1`, // a stream lasts as long as its reader wants
	)
}

func TestWebhooksAreCountedByResult(t *testing.T) {
	t.Parallel()
	m, s := newMetrics(t)
	s.webhooks = webhooks.Stats{
		Delivered: 5, Retried: 3, GivenUp: 2, CursorsLost: 1, OldestDue: 90 * time.Second,
	}
	wantLines(t, scrape(t, m),
		`paymentsvc_webhook_deliveries_total{result="delivered"} 5`,
		`paymentsvc_webhook_deliveries_total{result="retried"} 3`,
		`paymentsvc_webhook_deliveries_total{result="failed"} 2`,
		`paymentsvc_webhook_cursors_lost_total 1`,
		`paymentsvc_webhook_oldest_due_seconds 90`,
	)
}

func TestCallsToTheProcessorAreTimedByStepAndOutcome(t *testing.T) {
	t.Parallel()
	m, s := newMetrics(t)
	m.ProcessorCalled("confirm", stripe.Done, 300*time.Millisecond)
	m.ProcessorCalled("list refunds", stripe.Unknown, time.Minute)
	at := time.Unix(1_800_000_000, 0)
	s.cards = cards.Stats{
		Calls: 7, Open: 3, Review: 2, OldestOpen: 90 * time.Second, OldestReview: time.Hour,
		Differences: 4, ReconciledAt: at,
	}
	wantLines(t, scrape(t, m),
		`paymentsvc_card_call_duration_seconds_bucket{outcome="done",step="confirm",le="0.25"} 0`,
		`paymentsvc_card_call_duration_seconds_bucket{outcome="done",step="confirm",le="0.5"} 1`,
		`paymentsvc_card_call_duration_seconds_count{outcome="unknown",step="list_refunds"} 1`,
		`paymentsvc_card_call_duration_seconds_count{outcome="unknown",step="confirm"} 0`,
		`paymentsvc_card_calls 7`,
		`paymentsvc_card_attempts{state="open"} 3`,
		`paymentsvc_card_attempts{state="review"} 2`,
		`paymentsvc_card_oldest_attempt_seconds{state="open"} 90`,
		`paymentsvc_card_oldest_attempt_seconds{state="review"} 3600`,
		`paymentsvc_card_reconcile_differences 4`,
		`paymentsvc_card_reconciled_timestamp_seconds 1.8e+09`,
	)
	s.cards.ReconciledAt = time.Time{}
	wantLines(t, scrape(t, m), `paymentsvc_card_reconciled_timestamp_seconds 0`)
}

func TestTransactionsAreMeasuredByResult(t *testing.T) {
	t.Parallel()
	m, _ := newMetrics(t)
	queue := m.Queue()
	queue.Waited(3 * time.Millisecond)
	for _, err := range []error{
		nil,
		fmt.Errorf("wrapped: %w", postgres.ErrOutcomeUnknown),
		fmt.Errorf("wrapped: %w", postgres.ErrUnavailable),
		errors.New("its data"),
	} {
		queue.Committed(3, 40*time.Millisecond, err)
	}
	text := scrape(t, m)
	wantLines(t, text,
		`paymentsvc_queue_wait_seconds_bucket{le="0.0025"} 0`,
		`paymentsvc_queue_wait_seconds_bucket{le="0.005"} 1`,
		`paymentsvc_transaction_keys_bucket{le="2"} 0`,
		`paymentsvc_transaction_keys_bucket{le="4"} 4`,
		`paymentsvc_transaction_keys_sum 12`,
	)
	for _, result := range []string{"committed", "refused", "unavailable", "outcome_unknown"} {
		wantLines(t, text, `paymentsvc_transaction_duration_seconds_count{result="`+result+`"} 1`)
	}
}

func TestStateIsReadWhenItIsAskedFor(t *testing.T) {
	t.Parallel()
	m, s := newMetrics(t)
	wantLines(t, scrape(t, m),
		`paymentsvc_ready 1`,
		`paymentsvc_waiting_callers 0`,
		`paymentsvc_feed_lag_seconds 0`,
		// also before the first
		`paymentsvc_transaction_duration_seconds_count{result="outcome_unknown"} 0`,
	)
	s.notReady = errors.New("not now")
	s.feedLag = 1500 * time.Millisecond
	s.stats = payments.Stats{Waiting: 5, Transactions: postgres.CommitterStats{
		RerunsAfterConflict: 1, RerunsAfterUnavailable: 2, RerunsAfterUnknown: 3,
	}}
	wantLines(t, scrape(t, m),
		`paymentsvc_ready 0`,
		`paymentsvc_waiting_callers 5`,
		`paymentsvc_feed_lag_seconds 1.5`,
		`paymentsvc_transaction_reruns_total{reason="conflict"} 1`,
		`paymentsvc_transaction_reruns_total{reason="unavailable"} 2`,
		`paymentsvc_transaction_reruns_total{reason="outcome_unknown"} 3`,
		`paymentsvc_db_pool_connections{pool="money",state="acquired"} 0`,
		`paymentsvc_db_pool_connections_max{pool="money"} 7`,
	)
}
