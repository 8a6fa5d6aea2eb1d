package bench

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the published report anew")

const published = "../../docs/bench"

// publishedReport is the report of the run that the README shows.
func publishedReport(t *testing.T) (r *Report) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(published, "bench.json"))
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPublishedReportIsUpToDate(t *testing.T) {
	t.Parallel()
	r := publishedReport(t)
	for name, write := range r.writers() {
		var got bytes.Buffer
		if err := write(&got); err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(published, name))
		if err != nil {
			t.Fatal(err)
		}
		if !*update && !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s is not up to date: go test ./lab/bench -run Report -update", name)
		}
	}
	if *update {
		if err := r.WriteFiles(published); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUnknownFiguresAreReportedAsUnknown(t *testing.T) {
	t.Parallel()
	r := publishedReport(t)
	r.PeakMemoryBytes, r.Machine.MemoryBytes, r.Results[0].Median.ServiceMicros = 0, 0, 0
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"unknown memory", "Peak memory of the service: unknown",
		"unknown         39\n",
	} {
		if !bytes.Contains(text.Bytes(), []byte(want)) {
			t.Errorf("%q is not in:\n%s", want, text.String())
		}
	}
}

func TestChartIsXML(t *testing.T) {
	t.Parallel()
	r := publishedReport(t)
	r.Machine.CPU = "Example(R) CPU <1> & more"
	var chart bytes.Buffer
	if err := r.writeChart(&chart); err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(chart.Bytes(), &struct{}{}); err != nil {
		t.Error(err)
	}
}
