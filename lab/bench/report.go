package bench

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Report is the result of a run, as it is written to JSON.
type Report struct {
	Machine         Machine  `json:"machine"`
	Settings        Settings `json:"settings"`
	Results         []Result `json:"results"`
	PeakMemoryBytes uint64   `json:"peak_memory_bytes,omitzero"` // of the service; 0: unknown
	Books           Books    `json:"books"`
	Prices          []Price  `json:"prices,omitzero"`
}

// Settings of the run.
type Settings struct {
	Rounds        int     `json:"rounds"`
	Seconds       float64 `json:"seconds"`
	WarmUpSeconds float64 `json:"warm_up_seconds"`
	Accounts      int     `json:"accounts"`
	Merchants     int     `json:"merchants,omitzero"`
	Sharded       bool    `json:"sharded,omitzero"`
	Connections   int     `json:"connections"`     // of the prices, and of onefile
	Clients       int     `json:"pgbench_clients"` // of the pgbench that ratios are taken to
}

func (c Config) settings() Settings {
	return Settings{
		Rounds: c.Rounds, Seconds: c.Seconds, WarmUpSeconds: c.WarmUp, Accounts: c.Accounts,
		Merchants: c.Merchants, Sharded: c.Sharded,
		Connections: c.Connections[0], Clients: c.Clients[0],
	}
}

// hasQuiet tells whether a quiet merchant charges beside the load.
func (s Settings) hasQuiet() bool { return s.Merchants > 1 || s.Sharded }

// WriteFiles writes the report to a directory, as bench.txt, bench.json and bench.svg.
func (r *Report) WriteFiles(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { // for everybody to read
		return fmt.Errorf("writing the report: %w", err)
	}
	for name, write := range r.writers() {
		var content bytes.Buffer
		if err := write(&content); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content.Bytes(), 0o644); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
	}
	return nil
}

func (r *Report) writers() map[string]func(io.Writer) error {
	return map[string]func(io.Writer) error{
		"bench.txt": r.WriteText, "bench.json": r.writeJSON, "bench.svg": r.writeChart,
	}
}

// writeJSON writes the report for programs, with every measurement of every round.
func (r *Report) writeJSON(w io.Writer) error {
	err := json.MarshalWrite(w, r, jsontext.WithIndent("  "))
	_, _ = fmt.Fprintln(w)
	return err
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var text strings.Builder
	fmt.Fprintln(&text, r.Machine)
	fmt.Fprintf(&text, "Rounds that alternate: %d, with %v s a measurement after %v s of "+
		"warm-up. Medians; ratios are taken within a round; µs: CPU time a charge.\n",
		r.Settings.Rounds, r.Settings.Seconds, r.Settings.WarmUpSeconds)
	if r.Settings.Sharded {
		fmt.Fprintln(&text, "Sharded mode: a transaction has charges of one merchant.")
	}
	if n := r.Settings.Merchants; n > 1 {
		fmt.Fprintf(&text, "paymentsvc and pgbench charge %d merchants at random, which share "+
			"the accounts; in the hot pattern, each has its own hot account.\n", n)
	}
	if r.Settings.hasQuiet() {
		fmt.Fprintf(&text, "Beside the load, a quiet merchant sends paymentsvc one charge every "+
			"%d ms; the table leaves it out.\n", quietInterval.Milliseconds())
	}
	for _, pattern := range []Pattern{Uniform, Hot} {
		r.writePattern(&text, pattern)
	}
	memory := unknown
	if r.PeakMemoryBytes > 0 {
		memory = fmt.Sprintf("%.0f MiB", float64(r.PeakMemoryBytes)/(1<<20))
	}
	fmt.Fprintf(&text, "\nPeak memory of the service: %s\n", memory)
	fmt.Fprintf(&text, "Books: in order. %s charges were answered, and there are %s payments.\n",
		thousands(float64(r.Books.Charges)), thousands(float64(r.Books.Payments)))
	if len(r.Prices) > 0 {
		r.writePrices(&text)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func (r *Report) writePattern(w io.Writer, pattern Pattern) {
	fmt.Fprintf(w, "\n%s\n\n", r.describe(pattern))
	fmt.Fprintf(w, "%-33s%10s%8s%8s%18s%13s%13s%12s%11s\n", "", "charges/s", "p50 ms", "p99 ms",
		fmt.Sprintf("to pgbench -c %d", r.Settings.Clients), "to its best", "Postgres µs",
		"service µs", "client µs")
	for _, result := range r.Results {
		if m := result.Median; result.Pattern == pattern {
			fmt.Fprintf(w, "%-33s%10s%8.1f%8.1f%18.2f%13.2f%13s%12s%11s\n",
				result.label("pgbench -M prepared -j 2"), thousands(m.RatePerSecond), m.P50Millis,
				m.P99Millis, result.RatioToPgbench, result.RatioToPgbenchBest,
				micros(m.PostgresMicros), serviceMicros(result.Contender, m),
				micros(m.ClientMicros))
		}
	}
	if r.Settings.hasQuiet() {
		r.writeQuiet(w, pattern)
	}
}

// writeQuiet writes what a busy neighbour costs a quiet merchant.
func (r *Report) writeQuiet(w io.Writer, pattern Pattern) {
	fmt.Fprintln(w)
	for _, result := range r.Results {
		if result.Pattern != pattern || result.Contender != paymentsvcName {
			continue
		}
		latency := "no answer during the measurement"
		if q := result.Quiet; q.Charges > 0 {
			latency = fmt.Sprintf("median %.1f ms, maximum %.1f ms, of %d charges",
				q.P50Millis, q.MaxMillis, q.Charges)
		}
		fmt.Fprintf(w, "A quiet merchant beside %d connections: %s\n", result.Connections, latency)
	}
}

// describe says in words what a pattern is.
func (r *Report) describe(pattern Pattern) string {
	if pattern == Uniform {
		return fmt.Sprintf("Uniform: a charge moves money between two of %s accounts",
			thousands(float64(r.Settings.Accounts)))
	}
	return "Hot: every charge pays into, or out of, one and the same account"
}

// label names a contender, with this command for pgbench.
func (r *Result) label(command string) string {
	if r.Contender == pgbenchName {
		return fmt.Sprintf("%s -c %d", command, r.Connections)
	}
	return fmt.Sprintf("%s, %d connections", r.Contender, r.Connections)
}

func (r *Report) writePrices(w io.Writer) {
	fmt.Fprintf(w, "\nWhat each guarantee costs: uniform, %d connections, each with a database "+
		"of its own\n\n", r.Settings.Connections)
	fmt.Fprintf(w, "%-62s%10s%8s%15s%13s%12s%11s\n", "", "charges/s", "p99 ms", "to everything",
		"Postgres µs", "service µs", "client µs")
	for _, p := range r.Prices {
		m := p.Median
		fmt.Fprintf(w, "%-62s%10s%8.1f%15.2f%13s%12s%11s\n", p.Contender+" "+p.Variant,
			thousands(m.RatePerSecond), m.P99Millis, p.Ratio, micros(m.PostgresMicros),
			serviceMicros(p.Contender, m), micros(m.ClientMicros))
	}
	fmt.Fprintln(w, "\nThe service has no switch for its keys and events: those two are the same "+
		"statements, run by pgbench.")
}

const unknown = "unknown" // on systems other than Linux

func micros(value float64) string {
	if value == 0 {
		return unknown
	}
	return fmt.Sprintf("%.0f", value)
}

func serviceMicros(contender string, m Measurement) string {
	if contender == pgbenchName {
		return "-"
	}
	return micros(m.ServiceMicros)
}

// thousands writes a number without decimals, and with a comma between thousands.
func thousands(value float64) string {
	digits := strconv.FormatFloat(value, 'f', 0, 64)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}
