package bench

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-json-experiment/json"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sample is a report with everything that a report can have, and some of what it can
// lack.
func sample() *Report {
	micros := func(n float64) *float64 { return &n }
	peak := int64(87 << 20)
	measured := func(rate, p50, p99 float64, postgres, service, client *float64) Measurement {
		return Measurement{
			RatePerSecond: rate, P50Millis: p50, P99Millis: p99, PostgresMicros: postgres,
			ServiceMicros: service, ClientMicros: client,
		}
	}
	return &Report{
		Machine: Machine{
			CPU: "Example(R) CPU <1> & more", Cores: 2, MemoryBytes: 24 << 30, FsyncMicros: 360,
			OS: "linux/amd64", Go: "go1.26.8",
			Postgres: "15", Commit: "0123456789ab", Date: "2026-11-25",
			Runtime: []string{"GOGC=400"},
		},
		Settings: Settings{Rounds: 3, Seconds: 5, WarmUpSeconds: 1, Accounts: 10_000,
			Connections: 64, Clients: 64},
		Results: []Result{
			{
				paymentsvcName, Uniform, 64,
				measured(15234.4, 4.21, 8.96, micros(42.4), micros(40), micros(14)), 2.04, 1.31,
				nil,
			},
			{
				pgbenchName, Uniform, 64, measured(7467, 8, 21.5, micros(180), nil, micros(60)), 1,
				0.64, nil,
			},
			{
				paymentsvcName, Hot, 256, measured(19000, 12, 25, micros(40), nil, nil), 11.18,
				9.5, nil,
			},
			{
				pgbenchName, Hot, 16, measured(999, 16, 40, micros(300), nil, micros(70)), 1.18, 1,
				nil,
			},
		},
		PeakMemoryBytes: &peak,
		Books:           Books{Charges: 1_234_567, Payments: 1_234_567},
		Prices: []Price{
			{
				paymentsvcName, everything,
				measured(15000, 4, 9, micros(42), micros(40), micros(14)), 1, nil,
			},
			{
				pgbenchName, "without events", measured(8000, 8, 20, micros(160), nil, micros(60)),
				1.07, nil,
			},
		},
	}
}

func TestTheReportReadsAsItShould(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(io.Writer) error{
		"bench.txt":  sample().WriteText,
		"bench.json": sample().WriteJSON,
		"bench.svg":  sample().WriteChart,
	} {
		var got bytes.Buffer
		if err := write(&got); err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s (go test ./internal/bench -run Report -update writes it anew) is "+
				"now:\n%s", golden, got.String())
		}
	}
}

func TestTheChartIsXML(t *testing.T) {
	t.Parallel()
	var chart bytes.Buffer
	if err := sample().WriteChart(&chart); err != nil {
		t.Fatal(err)
	}
	for decoder := xml.NewDecoder(&chart); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatIsNotKnownIsSaidToBeUnknown(t *testing.T) {
	t.Parallel()
	r := sample()
	r.PeakMemoryBytes, r.Machine.MemoryBytes = nil, 0
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"unknown memory", "Peak memory of the service: unknown"} {
		if !bytes.Contains(text.Bytes(), []byte(want)) {
			t.Errorf("%q is not in:\n%s", want, text.String())
		}
	}
	var read Report
	var written bytes.Buffer
	if err := errors.Join(r.WriteJSON(&written),
		json.Unmarshal(written.Bytes(), &read)); err != nil {
		t.Fatal(err)
	}
	if read.PeakMemoryBytes != nil || read.Results[2].Median.ServiceMicros != nil ||
		*read.Results[0].Median.ServiceMicros != 40 {
		t.Errorf("JSON does not keep what is unknown:\n%s", written.String())
	}
}
