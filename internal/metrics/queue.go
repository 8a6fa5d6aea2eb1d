package metrics

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/paymentsvc/paymentsvc/internal/groupcommit"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// transactionBuckets reach from one flush to a fast disk to the longest that a
// transaction may take with all of its tries.
var transactionBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5,
	5, 10}

// What a transaction came to.
const (
	resultCommitted = "committed"
	// the database refused its data; a batch of several is then parted and tried again
	resultRefused     = "refused"
	resultUnavailable = "unavailable"
	resultUnknown     = "outcome_unknown"
)

type queueMetrics struct {
	wait      prometheus.Histogram
	batchSize prometheus.Histogram
	duration  *prometheus.HistogramVec
}

func newQueueMetrics() queueMetrics {
	q := queueMetrics{
		wait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "queue_wait_seconds",
			Help:    "Time that a key waited in the queue before a transaction took it.",
			Buckets: transactionBuckets,
		}),
		batchSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "transaction_keys",
			Help:    "Keys that one money transaction carried.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "transaction_duration_seconds",
			Help:    "Time of a money transaction, with all of its runs, by what it came to.",
			Buckets: transactionBuckets,
		}, []string{"result"}),
	}
	for _, result := range []string{resultCommitted, resultRefused, resultUnavailable,
		resultUnknown} {
		q.duration.WithLabelValues(result) // so that the first one is seen as a rise from 0
	}
	return q
}

func (q *queueMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{q.wait, q.batchSize, q.duration}
}

// Queue is told of the engine's queue and transactions.
func (m *Metrics) Queue() groupcommit.Observer {
	return groupcommit.Observer{
		Waited: func(d time.Duration) { m.queue.wait.Observe(d.Seconds()) },
		Committed: func(size int, took time.Duration, err error) {
			m.queue.batchSize.Observe(float64(size))
			m.queue.duration.WithLabelValues(resultOf(err)).Observe(took.Seconds())
		},
	}
}

func resultOf(err error) string {
	switch {
	case err == nil:
		return resultCommitted
	case errors.Is(err, postgres.ErrOutcomeUnknown):
		return resultUnknown
	case errors.Is(err, postgres.ErrUnavailable):
		return resultUnavailable
	}
	return resultRefused
}
