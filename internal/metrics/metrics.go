// Package metrics counts and measures what an instance does, for Prometheus.
//
// The engine and the API know nothing of it. They tell it what happens through small
// functions that cmd hands to them (http.go, queue.go), or keep counts of their own
// that are read when somebody asks (state.go).
//
// Every label has a small, fixed set of values, so that nothing which callers send can
// make the number of time series grow: a route's pattern and never a path, a code of
// the contract, and never a merchant. A merchant's requests are in the logs.
package metrics

import (
	"net/http"
	"runtime/debug"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/paymentsvc/paymentsvc/internal/payments"
)

const namespace = "paymentsvc"

// Sources are what is asked at each scrape. Every field is required.
type Sources struct {
	Ready    func() error // nil while the instance can charge
	Payments func() payments.Stats
	Pools    map[string]*pgxpool.Pool // by the name that they have in the metrics
}

// Metrics are those of one instance, in a registry of their own.
type Metrics struct {
	registry *prometheus.Registry
	http     httpMetrics
	queue    queueMetrics
}

// New makes the metrics of an instance.
func New(s Sources) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), http: newHTTPMetrics(),
		queue: newQueueMetrics()}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(),
	)
	m.registry.MustRegister(m.http.collectors()...)
	m.registry.MustRegister(m.queue.collectors()...)
	m.registry.MustRegister(stateOf(s)...)
	return m
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// buildInfo says, in its labels, which build is running.
func buildInfo() prometheus.Collector {
	labels := prometheus.Labels{"version": "unknown", "revision": "unknown",
		"go_version": "unknown"}
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
		Help: "Always 1; the labels say which build is running.", ConstLabels: labels,
	}, func() float64 { return 1 })
}
