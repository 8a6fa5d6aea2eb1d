package bench_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/bench"
	"github.com/paymentsvc/paymentsvc/lab/pgserver"
	"github.com/paymentsvc/paymentsvc/lab/service"
)

// scratchDir is a directory that Postgres can enter even if root runs the test. It must
// be empty at the end, and no process may be left that was started with a path in it.
func scratchDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(pgserver.ScratchDir(), "paymentsvc-bench-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("%v is left, %v", left, err)
		}
		commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, path := range commands {
			command, _ := os.ReadFile(path)
			if bytes.Contains(command, []byte(dir+"/paymentsvc-bench-")) {
				t.Errorf("%s still runs", bytes.ReplaceAll(command, []byte{0}, []byte(" ")))
			}
		}
		_ = os.RemoveAll(dir)
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// launch starts a run of the shortest measurements in which a charge is sure to be
// answered: a measurement without any charge is an error.
func launch(t *testing.T, args ...string) *service.Child {
	t.Helper()
	return service.Launch(t, nil, append([]string{
		"bench", "--seconds=0.3", "--warm-up=0", "--rounds=1", "--accounts=20",
		"--connections=4", "--clients=2", "--commit=under-test", "--scratch", scratchDir(t),
	}, args...)...)
}

func readFile(t *testing.T, dir, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func readReport(t *testing.T, dir string) (report bench.Report) {
	t.Helper()
	if err := json.Unmarshal(readFile(t, dir, "bench.json"), &report); err != nil {
		t.Fatal(err)
	}
	return report
}

func TestWholeRunWithPrices(t *testing.T) {
	t.Parallel()
	out, onefile := t.TempDir(), filepath.Join(t.TempDir(), "onefile")
	if said, err := exec.Command("go", "build", "-o", onefile, "../../examples/onefile").
		CombinedOutput(); err != nil {
		t.Fatalf("building examples/onefile: %v\n%s", err, said)
	}
	run := launch(t, "--prices", "--onefile", onefile, "--out", out)
	await.Until(t, 5*time.Minute, "the run has ended", run.Ended)
	if code := run.ExitCode(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	text := run.Stdout.String()
	if written := readFile(t, out, "bench.txt"); string(written) != text {
		t.Errorf("bench.txt is not the output:\n%s\n%s", written, text)
	}
	for _, want := range []string{
		"under-test", "pgbench -M prepared -j 2 -c 2", "examples/onefile, 4 connections",
		"Books: in order", "without keys and answers",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
	readFile(t, out, "bench.svg")
	report := readReport(t, out)
	if len(report.Results) != 6 || len(report.Prices) != 11 || report.PeakMemoryBytes == 0 ||
		report.Books.Charges == 0 || report.Books.Charges != report.Books.Payments {
		t.Errorf("the report is not whole: %+v", report)
	}
	for _, r := range report.Results {
		if r.Rounds[0].Charges == 0 || r.RatioToPgbench == 0 || r.RatioToPgbenchBest == 0 {
			t.Errorf("not measured: %+v", r)
		}
	}
	progress := regexp.MustCompile(`(?m)^\d+/\d+ `).FindAllString(run.Stderr.String(), -1)
	if len(progress) != 19 { // the begin of both parts and 17 measurements
		t.Errorf("%d lines of progress:\n%s", len(progress), run.Stderr.String())
	}
}

func TestMerchantsInShardedModeAreMeasured(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	// A whole second, because the quiet merchant sends only one charge every 250 ms.
	run := launch(t, "--merchants=3", "--sharded", "--seconds=1", "--out", out)
	await.Until(t, time.Minute, "the run has ended", run.Ended)
	text := run.Stdout.String()
	for _, want := range []string{
		"Sharded mode", "charge 3 merchants", "pgbench -M prepared -j 2 -c 2",
		"A quiet merchant beside 4 connections: median ", "Books: in order",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
	for _, r := range readReport(t, out).Results {
		if (r.Contender == "paymentsvc") != (r.Quiet.Charges > 0) {
			t.Errorf("charges of the quiet merchant: %+v", r)
		}
	}
}

func TestCtrlCLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for _, moment := range []string{"the service", "1/4 "} { // the start, and pgbench
		t.Run(moment, func(t *testing.T) {
			t.Parallel()
			run := launch(t)
			await.Until(t, time.Minute, moment, func() bool {
				return strings.Contains(run.Stderr.String(), moment) || run.Ended()
			})
			run.Signal(syscall.SIGINT)
			if code := run.ExitCode(); code != 1 {
				t.Errorf("exit code %d", code)
			}
			if said := run.Stderr.String(); !strings.Contains(said, "interrupted") {
				t.Errorf("it said:\n%s", said)
			}
		})
	}
}
