package metrics

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/paymentsvc/paymentsvc/internal/groupcommit"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// transactionBuckets range from one flush to a fast disk to the time limit of a
// transaction with all its runs.
var transactionBuckets = []float64{
	.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10,
}

// The results of a transaction. After a refusal, a batch is split and tried again.
const (
	resultCommitted   = "committed"
	resultRefused     = "refused"
	resultUnavailable = "unavailable"
	resultUnknown     = "outcome_unknown"
)

type queueMetrics struct {
	wait      prometheus.Histogram
	batchSize prometheus.Histogram
	duration  *prometheus.HistogramVec
}

func newQueueMetrics(registered promauto.Factory) queueMetrics {
	q := queueMetrics{
		wait: registered.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "queue_wait_seconds",
			Help:    "Time that a key waited in the queue for a transaction.",
			Buckets: transactionBuckets,
		}),
		batchSize: registered.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "transaction_keys",
			Help:    "Keys in one money transaction.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}),
		duration: registered.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "transaction_duration_seconds",
			Help:    "Time of a money transaction with all its runs, by result.",
			Buckets: transactionBuckets,
		}, []string{"result"}),
	}
	for _, result := range []string{
		resultCommitted, resultRefused, resultUnavailable, resultUnknown,
	} {
		q.duration.WithLabelValues(result) // begin at 0, so that the first one is an increase
	}
	return q
}

// Queue observes the engine's queue and transactions.
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
