package metrics

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/paymentsvc/paymentsvc/internal/httpapi"
)

// requestBuckets range from a quick read to the default request timeout.
var requestBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15}

type httpMetrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	replays  *prometheus.CounterVec
	declines *prometheus.CounterVec
}

func newHTTPMetrics(registered promauto.Factory) httpMetrics {
	return httpMetrics{
		requests: registered.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "http_requests_total",
			Help: "Requests answered, by route pattern, method, status and problem code. " +
				"Status 499: the client hung up before it was answered. " +
				"Status 0: the connection was closed before an answer.",
		}, []string{"route", "method", "status", "code"}),
		duration: registered.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "http_request_duration_seconds",
			Help:    "Time from a request's head to the end of its answer, without streams.",
			Buckets: requestBuckets,
		}, []string{"route", "method"}),
		replays: registered.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "replays_total",
			Help: "Requests answered with the stored answer of an earlier request.",
		}, []string{"status"}),
		declines: registered.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "declines_total",
			Help: "Payments and refunds declined, without replays.",
		}, []string{"route", "code"}),
	}
}

// Answered counts an answered request.
func (m *Metrics) Answered(x *httpapi.Exchange) {
	route, status := x.Route, strconv.Itoa(x.Status)
	if route == "" {
		route = "none"
	}
	m.http.requests.WithLabelValues(route, x.Method, status, x.Code).Inc()
	if !x.Streamed {
		m.http.duration.WithLabelValues(route, x.Method).Observe(x.Duration.Seconds())
	}
	switch {
	case x.Replayed:
		m.http.replays.WithLabelValues(status).Inc()
	case x.Status == http.StatusPaymentRequired:
		m.http.declines.WithLabelValues(route, x.Code).Inc()
	}
}
