package bench

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the published report anew")

const published = "../../docs/bench"

// TestPublishedReportIsUpToDate checks the report of the run that the README shows.
func TestPublishedReportIsUpToDate(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(published, "bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
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

func TestReportTellsTheLatencyOfAQuietMerchant(t *testing.T) {
	t.Parallel()
	contenders := []*contender{
		{name: paymentsvcName, load: load{pattern: Uniform, connections: 64}},
		{name: paymentsvcName, load: load{pattern: Hot, connections: 256}},
		{name: pgbenchName, load: load{pattern: Uniform}},
		{name: pgbenchName, load: load{pattern: Hot}},
	}
	for _, c := range contenders {
		c.measured = []Measurement{{RatePerSecond: 1}}
	}
	// unsorted, as after several rounds
	contenders[0].quiet = []time.Duration{20e6, 3e6, 2e6}
	r := Report{Settings: Settings{Merchants: 2}, Results: results(contenders)}
	for write, all := range map[string][]string{
		"bench.txt": {
			"sends paymentsvc one charge every 250 ms",
			"quiet merchant beside 64 connections: median 3.0 ms, maximum 20.0 ms, of 3 charges\n",
			"quiet merchant beside 256 connections: no answer during the measurement\n",
		},
		"bench.json": {`"charges": 3,`, `"max_ms": 20`},
	} {
		var got bytes.Buffer
		if err := r.writers()[write](&got); err != nil {
			t.Fatal(err)
		}
		for _, want := range all {
			if !strings.Contains(got.String(), want) {
				t.Errorf("%q is not in:\n%s", want, &got)
			}
		}
	}
	r.Settings.Merchants = 1
	var got bytes.Buffer
	if err := r.WriteText(&got); err != nil || strings.Contains(got.String(), "quiet") {
		t.Errorf("there is none, %v:\n%s", err, &got)
	}
}
