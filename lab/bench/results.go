package bench

import (
	"slices"
	"time"
)

// Result is one contender under one load. A ratio compares the rate with pgbench's under
// the same pattern. It is the median of the ratios of all rounds.
type Result struct {
	Contender          string        `json:"contender"`
	Pattern            Pattern       `json:"pattern"`
	Connections        int           `json:"connections"`
	Median             Measurement   `json:"median"`                // of each figure by itself
	RatioToPgbench     float64       `json:"ratio_to_pgbench"`      // with Settings.Clients
	RatioToPgbenchBest float64       `json:"ratio_to_pgbench_best"` // with the best number
	Quiet              Quiet         `json:"quiet_merchant,omitzero"`
	Rounds             []Measurement `json:"rounds"`
}

// Quiet is the latency of a quiet merchant beside the load, over all rounds. A p99 would
// need more charges than a short run has.
type Quiet struct {
	Charges   int     `json:"charges"` // answered within the windows
	P50Millis float64 `json:"p50_ms"`
	MaxMillis float64 `json:"max_ms"`
}

// Price is a charge without one guarantee, beside the same charge with all guarantees.
type Price struct {
	Contender string        `json:"contender"`
	Variant   string        `json:"variant"`
	Median    Measurement   `json:"median"`
	Ratio     float64       `json:"ratio_to_everything"`
	Rounds    []Measurement `json:"rounds"`
}

func results(contenders []*contender) (all []Result) {
	for _, c := range contenders {
		var rivals []*contender
		for _, rival := range contenders {
			if rival.name == pgbenchName && rival.load.pattern == c.load.pattern {
				rivals = append(rivals, rival)
			}
		}
		all = append(all, Result{
			c.name, c.load.pattern, c.load.connections,
			medianOf(c.measured), c.ratio(rivals[0]), c.ratio(rivals...), quietOf(c.quiet),
			c.measured,
		})
	}
	return all
}

// ratio is the median of the ratios to the best of the rivals in each round.
func (c *contender) ratio(rivals ...*contender) float64 {
	var ratios []float64
	for round, m := range c.measured {
		var best float64
		for _, rival := range rivals {
			best = max(best, rival.measured[round].RatePerSecond)
		}
		ratios = append(ratios, m.RatePerSecond/best)
	}
	return median(ratios)
}

func quietOf(latencies []time.Duration) Quiet {
	if len(latencies) == 0 {
		return Quiet{}
	}
	sorted := slices.Sorted(slices.Values(latencies))
	return Quiet{len(sorted), percentile(sorted, 50), percentile(sorted, 100)}
}

// prices compares each variant with everything on, which is the first of its subject.
func prices(contenders []*contender) (all []Price) {
	var whole *contender
	for i, v := range variants {
		c := contenders[i]
		if v.name == everything {
			whole = c
		}
		all = append(all,
			Price{v.subject, v.name, medianOf(c.measured), c.ratio(whole), c.measured})
	}
	return all
}

// medianOf takes the median of each figure by itself. The counts of charges have none.
func medianOf(rounds []Measurement) Measurement {
	of := func(figure func(Measurement) float64) float64 {
		values := make([]float64, len(rounds))
		for i, m := range rounds {
			values[i] = figure(m)
		}
		return median(values)
	}
	return Measurement{
		RatePerSecond:  of(func(m Measurement) float64 { return m.RatePerSecond }),
		P50Millis:      of(func(m Measurement) float64 { return m.P50Millis }),
		P99Millis:      of(func(m Measurement) float64 { return m.P99Millis }),
		PostgresMicros: of(func(m Measurement) float64 { return m.PostgresMicros }),
		ServiceMicros:  of(func(m Measurement) float64 { return m.ServiceMicros }),
		ClientMicros:   of(func(m Measurement) float64 { return m.ClientMicros }),
	}
}
