package bench

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
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
