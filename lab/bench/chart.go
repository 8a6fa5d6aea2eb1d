package bench

import (
	_ "embed" // chart.svg.tmpl
	"fmt"
	"io"
	"text/template"
)

// The chart is an SVG that stands by itself: in a README it is an image, which loads
// nothing, and follows the reader's light or dark mode by its own style.
//
//go:embed chart.svg.tmpl
var chartSource string

var chartTemplate = template.Must(template.New("chart").Parse(chartSource))

type chart struct {
	Width, Height         int
	CardWidth, CardHeight int
	Title, Subtitle       string
	Texts                 []chartText
	Bars                  []chartBar
}

type chartText struct {
	Class, Text string
	X, Y        int
	End         bool // X is where the text ends
}

type chartBar struct {
	Class               string
	X, Y, Width, Height int
}

// Measures, in pixels.
const (
	chartWidth   = 880
	chartLeft    = 24
	chartLabels  = 250 // where labels end
	chartBars    = 260 // where bars begin
	chartBarMax  = 330 // the width of the longest bar
	chartRow     = 26
	chartBarThin = 16
)

// WriteChart draws the rates as bars.
func (r *Report) WriteChart(w io.Writer) error {
	c := chart{
		Width: chartWidth,
		Title: "Charges a second",
		Subtitle: fmt.Sprintf(
			"median of alternating rounds (%d); × is to pgbench -c %d, within a round; %s, %d "+
				"cores, Postgres %s, %s",
			r.Settings.Rounds, r.Settings.Clients, r.Machine.CPU, r.Machine.Cores,
			r.Machine.Postgres, r.Machine.Date),
	}
	y := 74
	for _, pattern := range []Pattern{Uniform, Hot} {
		y = c.addPattern(r, pattern, y)
	}
	c.Height = y + 16
	c.CardWidth, c.CardHeight = c.Width-1, c.Height-1
	return chartTemplate.Execute(w, c)
}

// addPattern draws the bars of one pattern below y, and returns where they end.
func (c *chart) addPattern(r *Report, pattern Pattern, y int) int {
	y += 20
	c.Texts = append(c.Texts,
		chartText{Class: "pattern", Text: r.describe(pattern), X: chartLeft, Y: y})
	y += 10
	for _, result := range r.Results {
		if result.Pattern != pattern {
			continue
		}
		m := result.Median
		class := "theirs"
		if result.Contender == paymentsvcName {
			class = "ours"
		}
		width := max(1, int(chartBarMax*m.RatePerSecond/r.fastest()))
		baseline := y + chartBarThin - 3
		c.Bars = append(c.Bars,
			chartBar{Class: class, X: chartBars, Y: y, Width: width, Height: chartBarThin})
		c.Texts = append(c.Texts,
			chartText{Class: "label", Text: result.shortLabel(), X: chartLabels, Y: baseline,
				End: true},
			chartText{Class: "value", X: chartBars + width + 8, Y: baseline,
				Text: fmt.Sprintf("%s  (%s×), p99 %s ms",
					thousands(m.RatePerSecond), decimal(result.RatioToPgbench, 1),
					decimal(m.P99Millis, 1))})
		y += chartRow
	}
	return y
}

func (r *Report) fastest() (rate float64) {
	for _, result := range r.Results {
		rate = max(rate, result.Median.RatePerSecond)
	}
	return rate
}

// shortLabel fits beside a bar.
func (r *Result) shortLabel() string {
	if r.Contender == pgbenchName {
		return fmt.Sprintf("pgbench -c %d", r.Connections)
	}
	return r.Contender + ", " + connections(r.Connections)
}
