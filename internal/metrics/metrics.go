// Package metrics provides an instance's metrics for Prometheus.
//
// The engine and the API do not import it. They call functions that package app gives
// them (http.go, queue.go, broker.go,
// cards.go), or keep counts that are read at each scrape (state.go).
//
// Every label has a small, fixed set of values, so callers cannot make the number of time
// series grow. Labels hold a route's pattern and not a path, a problem's code, and never
// a merchant. The logs have the merchant of each request.
package metrics

import (
	"net/http"
	"runtime/debug"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/paymentsvc/paymentsvc/internal/cards"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/webhooks"
)

const namespace = "paymentsvc"

// Sources are read at each scrape. Every field is required.
type Sources struct {
	Ready    func() error // nil while the instance can charge
	Payments func() payments.Stats
	FeedLag  func() time.Duration // since when a running transaction holds the feed back
	Webhooks func() webhooks.Stats
	Cards    func() cards.Stats
	Pools    map[string]*pgxpool.Pool // by their name in the metrics
}

// Metrics are the metrics of one instance, in their own registry.
type Metrics struct {
	registry *prometheus.Registry
	http     httpMetrics
	queue    queueMetrics
	broker   brokerMetrics
	cards    cardMetrics
}

// New makes the metrics of an instance.
func New(s Sources) *Metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(),
	)
	registry.MustRegister(stateOf(s)...)
	registered := promauto.With(registry) // makes metrics and registers them
	return &Metrics{
		registry, newHTTPMetrics(registered), newQueueMetrics(registered),
		newBrokerMetrics(registered), newCardMetrics(registered),
	}
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// buildInfo names the running build in its labels.
func buildInfo() prometheus.Collector {
	labels := prometheus.Labels{
		"version": "unknown", "revision": "unknown", "go_version": "unknown",
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		labels["version"], labels["go_version"] = info.Main.Version, info.GoVersion
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				labels["revision"] = setting.Value
			}
		}
	}
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info",
		Help: "Always 1. The labels name the running build.", ConstLabels: labels,
	}, func() float64 { return 1 })
}
