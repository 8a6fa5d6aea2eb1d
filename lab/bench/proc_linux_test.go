package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func TestCPUTimeCountsChildrenThatRunAndChildrenThatHaveEnded(t *testing.T) {
	t.Parallel()
	// A shell as the postmaster: one child works and ends, and another works for as
	// long as it is let.
	shell := exec.Command("sh", "-c",
		"sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'; (while :; do :; done) & wait")
	c, err := startChild(shell)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	total := func() time.Duration {
		used, err := cpuTimeWithChildren(c.pid())
		if err != nil {
			t.Fatal(err)
		}
		return used
	}
	within(t, "the first child has ended", func() bool {
		stat, err := readStat(c.pid())
		return err == nil && stat.reaped > 0
	})
	reaped := total()
	within(t, "the second child's time is counted while it runs", func() bool {
		return total() > reaped+50*time.Millisecond
	})
	own, err := cpuTime(c.pid())
	if err != nil || own >= reaped {
		t.Errorf("the shell itself used %v of %v, %v", own, reaped, err)
	}
	for _, pid := range children(t, c.pid()) {
		if process, err := os.FindProcess(pid); err == nil {
			_ = process.Kill()
		}
	}
}

func children(t *testing.T, parent int) (pids []int) {
	t.Helper()
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		pid, _ := strconv.Atoi(filepath.Base(entry))
		if stat, err := readStat(pid); err == nil && stat.parent == parent {
			pids = append(pids, pid)
		}
	}
	return pids
}

func within(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		case <-tick.C:
		}
	}
}

func TestPeakMemoryOfThisProcess(t *testing.T) {
	t.Parallel()
	peak, err := peakMemory(os.Getpid())
	if err != nil || peak < 1<<20 || peak > 1<<40 {
		t.Errorf("got %d bytes, %v", peak, err)
	}
}
