package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The CPU time of processes is read from /proc, as Linux has it. Elsewhere it is
// unknown, and the report says so.

// userHZ is the unit of times in /proc/PID/stat: Linux shows a hundredth of a second on
// every machine that Go runs on.
const userHZ = 100

// processStat is what /proc/PID/stat says of a process (proc_pid_stat(5)).
type processStat struct {
	parent int
	own    time.Duration // CPU time of all its threads
	reaped time.Duration // CPU time of the children that it has waited for
}

func readStat(pid int) (processStat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return processStat{}, fmt.Errorf("reading CPU time: %w", err)
	}
	// The second field is the program's name in parentheses, which may hold anything;
	// the third follows the last of them.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	const third = 3
	number := func(field int) int64 {
		n, _ := strconv.ParseInt(fields[field-third], 10, 64)
		return n
	}
	if len(fields) < 15 {
		return processStat{},
			fmt.Errorf("reading CPU time: /proc/%d/stat has %d fields", pid, len(fields)+2)
	}
	ticks := func(n int64) time.Duration { return time.Duration(n) * time.Second / userHZ }
	return processStat{
		parent: int(number(4)),
		own:    ticks(number(14) + number(15)),
		reaped: ticks(number(16) + number(17)),
	}, nil
}

// cpuTime is what the process has used, without its children.
func cpuTime(pid int) (time.Duration, error) {
	stat, err := readStat(pid)
	return stat.own, err
}

// cpuTimeWithChildren is what the process and its children have used, those that have
// ended included. Postgres's processes are all children of the postmaster, and it waits
// for each.
func cpuTimeWithChildren(pid int) (time.Duration, error) {
	parent, err := readStat(pid)
	if err != nil {
		return 0, err
	}
	total := parent.own + parent.reaped
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, entry := range entries {
		candidate, _ := strconv.Atoi(filepath.Base(entry))
		// it may have ended meanwhile
		if stat, err := readStat(candidate); err == nil && stat.parent == pid {
			total += stat.own
		}
	}
	return total, nil
}

// peakMemory is the most memory that the process has held at once (VmHWM), in bytes.
func peakMemory(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("reading peak memory: %w", err)
	}
	kilobytes, err := procField(string(text), "VmHWM")
	return kilobytes << 10, err
}

// procField reads a line such as "VmHWM:   12345 kB".
func procField(text, name string) (int64, error) {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value),
				"kB")), 10, 64)
		}
	}
	return 0, fmt.Errorf("there is no %s", name)
}
