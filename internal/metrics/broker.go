package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/paymentsvc/paymentsvc/internal/broker"
)

type brokerMetrics struct {
	requests    *prometheus.CounterVec
	published   prometheus.Counter
	cursorsLost prometheus.Counter
}

func newBrokerMetrics(registered promauto.Factory) brokerMetrics {
	b := brokerMetrics{
		requests: registered.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "broker_requests_total",
			Help: "Requests by message, by result. One that is put off is delivered again.",
		}, []string{"result"}),
		published: registered.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "broker_events_published_total",
			Help: "Events that the message broker has acknowledged.",
		}),
		cursorsLost: registered.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "broker_cursors_lost_total",
			Help: "Times that events were gone before the message broker got them.",
		}),
	}
	for _, result := range broker.Results {
		b.requests.WithLabelValues(string(result)) // begin at 0
	}
	return b
}

// Broker observes the messages.
func (m *Metrics) Broker() broker.Observer {
	return broker.Observer{
		Request: func(result broker.Result) {
			m.broker.requests.WithLabelValues(string(result)).Inc()
		},
		Published:  func(events int) { m.broker.published.Add(float64(events)) },
		CursorLost: m.broker.cursorsLost.Inc,
	}
}
