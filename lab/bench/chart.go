package bench

import (
	_ "embed" // chart.svg.tmpl
	"fmt"
	"io"
	"text/template"
)

// The chart is one SVG file without links, so a README can show it as an image. Its own
// style follows the light or dark mode of the reader.
//
//go:embed chart.svg.tmpl
var chartSource string

var chartTemplate = template.Must(template.New("chart").Parse(chartSource))

// chart is what the template draws. Sizes are in pixels. Y is the top of a group or of a
// bar.
type chart struct {
	Height   int
	Subtitle string
	Groups   []chartGroup
}

type chartGroup struct {
	Y    int
	Text string
	Bars []chartBar
}

type chartBar struct {
	Y, Width            int
	Class, Label, Value string
}

const (
	chartTop    = 74
	chartHead   = 30 // of a group, above its bars
	chartRow    = 26 // from one bar to the next
	chartBarMax = 330
)

// writeChart draws the rates as bars.
func (r *Report) writeChart(w io.Writer) error {
	fastest := 1.0
	for _, result := range r.Results {
		fastest = max(fastest, result.Median.RatePerSecond)
	}
	y := chartTop
	var groups []chartGroup
	for _, pattern := range []Pattern{Uniform, Hot} {
		group := chartGroup{Y: y, Text: r.describe(pattern)}
		y += chartHead
		for _, result := range r.Results {
			if result.Pattern == pattern {
				group.Bars = append(group.Bars, result.bar(y, fastest))
				y += chartRow
			}
		}
		groups = append(groups, group)
	}
	return chartTemplate.Execute(w, chart{
		Height: y + 16,
		Subtitle: fmt.Sprintf("median of alternating rounds (%d); × is to pgbench -c %d, "+
			"within a round; %s, %d cores, Postgres %s, %s", r.Settings.Rounds, r.Settings.Clients,
			r.Machine.CPU, r.Machine.Cores, r.Machine.Postgres, r.Machine.Date),
		Groups: groups,
	})
}

func (r *Result) bar(y int, fastest float64) chartBar {
	m := r.Median
	class := "theirs"
	if r.Contender == paymentsvcName {
		class = "ours"
	}
	return chartBar{
		Y: y, Width: int(chartBarMax * m.RatePerSecond / fastest),
		Class: class, Label: r.label("pgbench"),
		Value: fmt.Sprintf("%s  (%.1f×), p99 %.1f ms",
			thousands(m.RatePerSecond), r.RatioToPgbench, m.P99Millis),
	}
}
