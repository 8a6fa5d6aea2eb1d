package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/paymentsvc/paymentsvc/internal/cards"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

// callBuckets range from a fast answer to the longest PROCESSOR_TIMEOUT that makes sense.
var callBuckets = []float64{.025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

type cardMetrics struct{ calls *prometheus.HistogramVec }

func newCardMetrics(registered promauto.Factory) cardMetrics {
	c := cardMetrics{registered.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: "card_call_duration_seconds",
		Help: "Time of a call to the card processor, by step and by what is known of its " +
			"effect: " +
			"done, not_done or unknown.",
		Buckets: callBuckets,
	}, []string{"step", "outcome"})}
	for _, step := range []string{"create", "confirm", "capture", "cancel", "refund", "retrieve"} {
		for _, outcome := range []stripe.Outcome{stripe.Done, stripe.NotDone, stripe.Unknown} {
			c.calls.WithLabelValues(step, label(outcome.String())) // begin at 0
		}
	}
	return c
}

// ProcessorCalled counts a call to the card processor.
func (m *Metrics) ProcessorCalled(step string, outcome stripe.Outcome, took time.Duration) {
	m.cards.calls.WithLabelValues(label(step), label(outcome.String())).Observe(took.Seconds())
}

func label(text string) string { return strings.ReplaceAll(text, " ", "_") }

func stateOfCards(s Sources) []prometheus.Collector {
	list := []prometheus.Collector{
		gauge("card_calls", "Attempts at the card processor that this instance works on.", nil,
			func() float64 { return float64(s.Cards().Calls) }),
		gauge("card_reconcile_differences", "Differences between the processor's books and ours "+
			"that the last hourly comparison has found.", nil,
			func() float64 { return float64(s.Cards().Differences) }),
		gauge("card_reconciled_timestamp_seconds", "Up to when the processor's books were "+
			"compared with ours; 0: never.", nil,
			func() float64 {
				if at := s.Cards().ReconciledAt; !at.IsZero() {
					return float64(at.Unix())
				}
				return 0
			}),
	}
	attempts := func(
		state string, n func(cards.Stats) int64, oldest func(cards.Stats) time.Duration,
	) {
		labels := prometheus.Labels{"state": state}
		list = append(list,
			gauge("card_attempts", "Attempts that are not settled, of all instances: open, or in "+
				"review, for a person.", labels, func() float64 { return float64(n(s.Cards())) }),
			gauge("card_oldest_attempt_seconds", "Age of the oldest attempt that is not settled, "+
				"of all instances; 0: none.", labels,
				func() float64 { return oldest(s.Cards()).Seconds() }))
	}
	attempts("open", func(c cards.Stats) int64 { return c.Open },
		func(c cards.Stats) time.Duration { return c.OldestOpen })
	attempts("review", func(c cards.Stats) int64 { return c.Review },
		func(c cards.Stats) time.Duration { return c.OldestReview })
	return list
}
