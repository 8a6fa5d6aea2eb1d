package bench

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Report is what was measured, as it is written to JSON.
type Report struct {
	Machine  Machine  `json:"machine"`
	Settings Settings `json:"settings"`
	Results  []Result `json:"results"`
	// of the service; absent where it is not known
	PeakMemoryBytes *int64  `json:"peak_memory_bytes,omitzero"`
	Books           Books   `json:"books"`
	Prices          []Price `json:"prices,omitzero"`
}

// Settings of the run.
type Settings struct {
	Rounds        int     `json:"rounds"`
	Seconds       float64 `json:"seconds"`
	WarmUpSeconds float64 `json:"warm_up_seconds"`
	Accounts      int     `json:"accounts"`
	Connections   int     `json:"connections"`     // of the prices, and of onefile
	Clients       int     `json:"pgbench_clients"` // of the pgbench that ratios are taken to
}

// Books are what the database holds afterwards. There is no report of books that are
// not in order.
type Books struct {
	Charges  int `json:"charges"`  // answered
	Payments int `json:"payments"` // found
}

// Result is one contender under one load. Ratios are medians of ratios within a round,
// to pgbench under the same pattern.
type Result struct {
	Contender          string        `json:"contender"`
	Pattern            Pattern       `json:"pattern"`
	Connections        int           `json:"connections"`
	Median             Measurement   `json:"median"`                // of each figure by itself
	RatioToPgbench     float64       `json:"ratio_to_pgbench"`      // with Settings.Clients
	RatioToPgbenchBest float64       `json:"ratio_to_pgbench_best"` // with as many as are best
	Rounds             []Measurement `json:"rounds"`
}

// Price is a charge with one guarantee left out, beside the same with everything on.
type Price struct {
	Contender string        `json:"contender"`
	Variant   string        `json:"variant"`
	Median    Measurement   `json:"median"`
	Ratio     float64       `json:"ratio_to_everything"`
	Rounds    []Measurement `json:"rounds"`
}

func results(contenders []*contender, clients int) []Result {
	all := make([]Result, 0, len(contenders))
	for _, c := range contenders {
		var ratios, toBest []float64
		for round, m := range c.measured {
			rate, best := pgbenchRates(contenders, c.load.Pattern, round, clients)
			ratios, toBest = append(ratios, m.RatePerSecond/rate),
				append(toBest, m.RatePerSecond/best)
		}
		all = append(all, Result{
			Contender:          c.name,
			Pattern:            c.load.Pattern,
			Connections:        c.load.Connections,
			Median:             medianOf(c.measured),
			RatioToPgbench:     median(ratios),
			RatioToPgbenchBest: median(toBest),
			Rounds:             c.measured,
		})
	}
	return all
}

// pgbenchRates are pgbench's rates in one round: with that many clients, and with as
// many as were best.
func pgbenchRates(
	contenders []*contender, pattern Pattern, round, clients int,
) (rate, best float64) {
	for _, c := range contenders {
		if c.name != pgbenchName || c.load.Pattern != pattern {
			continue
		}
		measured := c.measured[round].RatePerSecond
		best = max(best, measured)
		if c.load.Connections == clients {
			rate = measured
		}
	}
	return rate, best
}

func prices(variants []variant, contenders []*contender) []Price {
	all := make([]Price, 0, len(variants))
	whole := map[string]*contender{}
	for i, v := range variants {
		c := contenders[i]
		if v.name == everything {
			whole[v.subject] = c
		}
		var ratios []float64
		for round, m := range c.measured {
			ratios = append(ratios, m.RatePerSecond/whole[v.subject].measured[round].RatePerSecond)
		}
		all = append(all, Price{
			Contender: v.subject, Variant: v.name, Median: medianOf(c.measured),
			Ratio: median(ratios), Rounds: c.measured,
		})
	}
	return all
}

// medianOf takes the median of each figure by itself. The counts of charges have none.
func medianOf(rounds []Measurement) Measurement {
	of := func(figure func(Measurement) *float64) *float64 {
		var known []float64
		for _, m := range rounds {
			if value := figure(m); value != nil {
				known = append(known, *value)
			}
		}
		if len(known) < len(rounds) {
			return nil
		}
		middle := median(known)
		return &middle
	}
	return Measurement{
		RatePerSecond:  *of(func(m Measurement) *float64 { return &m.RatePerSecond }),
		P50Millis:      *of(func(m Measurement) *float64 { return &m.P50Millis }),
		P99Millis:      *of(func(m Measurement) *float64 { return &m.P99Millis }),
		PostgresMicros: of(func(m Measurement) *float64 { return m.PostgresMicros }),
		ServiceMicros:  of(func(m Measurement) *float64 { return m.ServiceMicros }),
		ClientMicros:   of(func(m Measurement) *float64 { return m.ClientMicros }),
	}
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var text strings.Builder
	r.Machine.write(&text)
	fmt.Fprintf(
		&text, "Rounds that alternate: %d, with %v s a measurement after %v s of warm-up. "+
			"Medians; ratios are taken within a round; µs: CPU time a charge.\n",
		r.Settings.Rounds, r.Settings.Seconds, r.Settings.WarmUpSeconds)
	for _, pattern := range []Pattern{Uniform, Hot} {
		r.writePattern(&text, pattern)
	}
	fmt.Fprintf(&text, "\nPeak memory of the service: %s\n", r.peakMemory())
	fmt.Fprintf(&text, "Books: in order. %s charges were answered, and there are %s payments.\n",
		thousands(float64(r.Books.Charges)), thousands(float64(r.Books.Payments)))
	r.writePrices(&text)
	_, err := io.WriteString(w, text.String())
	return err
}

func (r *Report) writePattern(w io.Writer, pattern Pattern) {
	fmt.Fprintf(w, "\n%s\n\n", r.describe(pattern))
	toPgbench := fmt.Sprintf("to pgbench -c %d", r.Settings.Clients)
	t := newTable("", "charges/s", "p50 ms", "p99 ms", toPgbench, "to its best", "Postgres µs",
		"service µs", "client µs")
	for _, result := range r.Results {
		if result.Pattern != pattern {
			continue
		}
		m := result.Median
		service := unknownOr(m.ServiceMicros)
		if result.Contender == pgbenchName {
			service = "-"
		}
		t.row(result.label(), thousands(m.RatePerSecond), decimal(m.P50Millis, 1),
			decimal(m.P99Millis, 1),
			decimal(result.RatioToPgbench, 2), decimal(result.RatioToPgbenchBest, 2),
			unknownOr(m.PostgresMicros), service, unknownOr(m.ClientMicros))
	}
	t.write(w)
}

// describe says in words what a pattern is.
func (r *Report) describe(pattern Pattern) string {
	if pattern == Uniform {
		return fmt.Sprintf("Uniform: a charge moves money between two of %s accounts",
			thousands(float64(r.Settings.Accounts)))
	}
	return "Hot: every charge pays into, or out of, one and the same account"
}

// label names a contender as one would start it.
func (r *Result) label() string {
	if r.Contender == pgbenchName {
		return fmt.Sprintf("pgbench -M prepared -j 2 -c %d", r.Connections)
	}
	return r.Contender + ", " + connections(r.Connections)
}

func (r *Report) writePrices(w io.Writer) {
	if len(r.Prices) == 0 {
		return
	}
	fmt.Fprintf(w, "\nWhat each guarantee costs: uniform, %s, each with a database of its own\n\n",
		connections(r.Settings.Connections))
	t := newTable("", "charges/s", "p99 ms", "to everything", "Postgres µs", "service µs",
		"client µs")
	for _, p := range r.Prices {
		service := unknownOr(p.Median.ServiceMicros)
		if p.Contender == pgbenchName {
			service = "-"
		}
		t.row(p.Contender+" "+p.Variant, thousands(p.Median.RatePerSecond),
			decimal(p.Median.P99Millis, 1),
			decimal(p.Ratio, 2), unknownOr(p.Median.PostgresMicros), service,
			unknownOr(p.Median.ClientMicros))
	}
	t.write(w)
	fmt.Fprintf(
		w,
		"\nThe service has no switch for its keys and events: those two are the same "+
			"statements, run by pgbench.\n",
	)
}

func (r *Report) peakMemory() string {
	if r.PeakMemoryBytes == nil {
		return unknown
	}
	return decimal(float64(*r.PeakMemoryBytes)/(1<<20), 0) + " MiB"
}

const unknown = "unknown" // on systems other than Linux

func unknownOr(micros *float64) string {
	if micros == nil {
		return unknown
	}
	return decimal(*micros, 0)
}

func decimal(value float64,
	digits int) string {
	return strconv.FormatFloat(value, 'f', digits, 64)
}

// thousands writes a number without decimals, and with a comma between thousands.
func thousands(value float64) string {
	digits := strconv.FormatFloat(value, 'f', 0, 64)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}
