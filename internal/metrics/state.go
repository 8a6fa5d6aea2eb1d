package metrics

import (
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/internal/webhooks"
)

// stateOf makes the metrics that are read at each scrape.
func stateOf(s Sources) []prometheus.Collector {
	list := []prometheus.Collector{
		gauge("ready", "1 while the instance can charge, as /readyz says.", nil, func() float64 {
			if s.Ready() != nil {
				return 0
			}
			return 1
		}),
		gauge("waiting_callers", "Callers whose charge is in no transaction yet.", nil,
			func() float64 { return float64(s.Payments().Waiting) }),
		gauge("blocked_callers", "Callers that wait for a row that another session holds.", nil,
			func() float64 { return float64(s.Payments().Blocked) }),
		gauge("feed_lag_seconds", "For how long the oldest running transaction of the database "+
			"cluster has held the feed of events back.", nil,
			func() float64 { return s.FeedLag().Seconds() }),
	}
	for reason, count := range map[string]func(postgres.CommitterStats) int64{
		"conflict": func(c postgres.CommitterStats) int64 { return c.RerunsAfterConflict },
		resultUnavailable: func(c postgres.CommitterStats) int64 {
			return c.RerunsAfterUnavailable
		},
		resultUnknown: func(c postgres.CommitterStats) int64 { return c.RerunsAfterUnknown },
	} {
		list = append(list, counter("transaction_reruns_total",
			"Runs of a money transaction after the first, by the result of the previous run.",
			prometheus.Labels{"reason": reason},
			func() float64 { return float64(count(s.Payments().Transactions)) }))
	}
	list = append(list, stateOfWebhooks(s)...)
	list = append(list, stateOfCards(s)...)
	for name, pool := range s.Pools {
		list = append(list, stateOfPool(name, pool)...)
	}
	return list
}

func stateOfWebhooks(s Sources) []prometheus.Collector {
	deliveries := func(result string, count func(webhooks.Stats) int64) prometheus.Collector {
		return counter("webhook_deliveries_total",
			"Results of sending an event to a webhook endpoint: delivered, retried (another "+
				"try follows) or failed (its time is up, or the endpoint is gone).",
			prometheus.Labels{"result": result},
			func() float64 { return float64(count(s.Webhooks())) })
	}
	return []prometheus.Collector{
		deliveries("delivered", func(w webhooks.Stats) int64 { return w.Delivered }),
		deliveries("retried", func(w webhooks.Stats) int64 { return w.Retried }),
		deliveries("failed", func(w webhooks.Stats) int64 { return w.GivenUp }),
		counter("webhook_cursors_lost_total",
			"Times that the fan-out had to go on from the oldest kept event of a merchant.", nil,
			func() float64 { return float64(s.Webhooks().CursorsLost) }),
		gauge("webhook_oldest_due_seconds",
			"How late the delivery is that is most overdue, of all instances; 0: none.", nil,
			func() float64 { return s.Webhooks().OldestDue.Seconds() }),
	}
}

func stateOfPool(name string, pool *pgxpool.Pool) []prometheus.Collector {
	labels := prometheus.Labels{"pool": name}
	connections := func(state string, count func(*pgxpool.Stat) int32) prometheus.Collector {
		return gauge("db_pool_connections", "Connections to the database, by state.",
			prometheus.Labels{"pool": name, "state": state},
			func() float64 { return float64(count(pool.Stat())) })
	}
	return []prometheus.Collector{
		connections("acquired", (*pgxpool.Stat).AcquiredConns),
		connections("idle", (*pgxpool.Stat).IdleConns),
		connections("connecting", (*pgxpool.Stat).ConstructingConns),
		gauge("db_pool_connections_max", "Connections that the pool may have.", labels,
			func() float64 { return float64(pool.Stat().MaxConns()) }),
		counter("db_pool_acquires_total", "Connections taken from the pool.", labels,
			func() float64 { return float64(pool.Stat().AcquireCount()) }),
		counter("db_pool_waits_total",
			"Connections taken after a wait, because none was idle.", labels,
			func() float64 { return float64(pool.Stat().EmptyAcquireCount()) }),
		counter("db_pool_wait_seconds_total", "Time spent waiting for connections.", labels,
			func() float64 { return pool.Stat().EmptyAcquireWaitTime().Seconds() }),
	}
}

func gauge(
	name, help string, labels prometheus.Labels, value func() float64,
) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: name, Help: help, ConstLabels: labels,
	}, value)
}

func counter(
	name, help string, labels prometheus.Labels, value func() float64,
) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: namespace, Name: name, Help: help, ConstLabels: labels,
	}, value)
}
