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

	"github.com/paymentsvc/paymentsvc/lab/bench"
	"github.com/paymentsvc/paymentsvc/lab/service"
)

// scratchDir is a place that Postgres can enter when root runs the test, and t.TempDir
// is none.
func scratchDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "paymentsvc-bench-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// empty fails the test if anything is left of a run: files, or a process that was
// started with a path below dir.
func empty(t *testing.T, dir string) {
	t.Helper()
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
}

// A second is long enough for one charge even where the disk is busy with others: a
// measurement without any is refused.
const tiny = "--seconds=1 --warm-up=0.1 --rounds=1 --accounts=20 --connections=4,8 " +
	"--clients=4,2 --commit=under-test"

func TestAWholeRunWithPrices(t *testing.T) {
	t.Parallel()
	scratch, out := scratchDir(t), t.TempDir()
	onefile := filepath.Join(t.TempDir(), "onefile")
	if said, err := exec.Command("go", "build", "-o", onefile, "../../examples/onefile").
		CombinedOutput(); err != nil {
		t.Fatalf("building examples/onefile: %v\n%s", err, said)
	}
	args := append([]string{"bench", "--prices", "--onefile", onefile, "--scratch", scratch,
		"--out", out}, strings.Fields(tiny)...)
	run := service.Launch(t, nil, args...)
	within(t, 5*time.Minute, run.Ended)
	if code := run.ExitCode(); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, run.Stderr.String())
	}
	written, err := os.ReadFile(filepath.Join(out, "bench.txt"))
	if err != nil || string(written) != run.Stdout.String() {
		t.Errorf("bench.txt is not what was printed: %v\n%s\n%s", err, written,
			run.Stdout.String())
	}
	for _, want := range []string{
		"under-test", "pgbench -M prepared -j 2 -c 2", "examples/onefile, 4 connections",
		"Books: in order", "without keys and answers",
	} {
		if !strings.Contains(run.Stdout.String(), want) {
			t.Errorf("%q is not in:\n%s", want, run.Stdout.String())
		}
	}
	var report bench.Report
	text, err := os.ReadFile(filepath.Join(out, "bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Results) != 10 || len(report.Prices) != 9 || report.Books.Charges == 0 ||
		report.Books.Charges != report.Books.Payments {
		t.Errorf("the report is not whole:\n%s", text)
	}
	for _, r := range report.Results {
		if len(r.Rounds) != 1 || r.Rounds[0].Charges == 0 || r.RatioToPgbench == 0 ||
			r.RatioToPgbenchBest == 0 {
			t.Errorf("not measured: %+v", r)
		}
	}
	if chart, err := os.ReadFile(filepath.Join(out, "bench.svg")); err != nil ||
		!bytes.HasPrefix(chart, []byte("<svg")) {
		t.Errorf("bench.svg: %v", err)
	}
	if lines := regexp.MustCompile(`(?m)^\d+/\d+ `).
		FindAllString(run.Stderr.String(), -1); len(lines) != 19 {
		t.Errorf("%d lines of progress:\n%s", len(lines), run.Stderr.String())
	}
	empty(t, scratch)
}

func TestCtrlCLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	// while it starts, and while each kind is measured
	for _, moment := range []string{"the service", "1/8 ", "2/8 "} {
		t.Run(moment, func(t *testing.T) {
			t.Parallel()
			scratch := scratchDir(t)
			args := append([]string{"bench", "--scratch", scratch}, strings.Fields(tiny)...)
			run := service.Launch(t, nil, args...)
			within(t, time.Minute, func() bool {
				return strings.Contains(run.Stderr.String(), moment) || run.Ended()
			})
			run.Signal(syscall.SIGINT)
			if code := run.ExitCode(); code != 1 {
				t.Errorf("exit code %d", code)
			}
			if said := run.Stderr.String(); !strings.Contains(said, "interrupted") {
				t.Errorf("it said:\n%s", said)
			}
			empty(t, scratch)
		})
	}
}

func TestWrongArgumentsAreRefusedBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	run := service.Launch(t, nil, "bench", "--accounts=1", "--connections=0,5", "--clients=5,151",
		"--rounds=0", "--seconds=0")
	if code := run.ExitCode(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"accounts: 1", "rounds: 0", "connections: [0 5]",
		"clients: [5 151]", "0s is below 100ms"} {
		if !strings.Contains(run.Stderr.String(), want) {
			t.Errorf("%q is not in: %s", want, run.Stderr.String())
		}
	}
}

func within(t *testing.T, limit time.Duration, done func() bool) {
	t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("not within %v", limit)
		case <-tick.C:
		}
	}
}
