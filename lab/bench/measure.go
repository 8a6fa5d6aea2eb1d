package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/procfs"
)

// Measurement is the result of one contender in one round.
type Measurement struct {
	RatePerSecond float64 `json:"rate_per_second"`
	P50Millis     float64 `json:"p50_ms"`
	P99Millis     float64 `json:"p99_ms"`
	// CPU time of a charge in microseconds; 0: unknown, or there is no such process
	PostgresMicros float64 `json:"postgres_cpu_us,omitzero"`
	ServiceMicros  float64 `json:"service_cpu_us,omitzero"`
	ClientMicros   float64 `json:"client_cpu_us,omitzero"`
	Charges        int     `json:"charges"` // answered within the window
	Made           int     `json:"made"`    // all, with those of the warm-up
}

// subject is something that can charge.
type subject interface {
	// charge charges on all connections of the load until observe returns, and returns
	// every charge. It calls observe when all connections are open, with the id of the
	// process that generates the load.
	charge(ctx context.Context, l load, observe observer) ([]charge, error)
	// pid is the id of the service's process; 0: there is none
	pid() int
}

type observer func(ctx context.Context, clientPID int) error

// charge is one charge that was answered.
type charge struct {
	at    time.Time // of the answer
	took  time.Duration
	quiet bool // of the quiet merchant
}

// window is the time in which charges count, and the CPU seconds used in it.
type window struct {
	begin, end                time.Time
	postgres, service, client float64
}

// measure charges for the warm-up and the duration. Only the duration counts. It also
// returns the latencies of a quiet merchant.
func (c *contender) measure(ctx context.Context) (Measurement, []time.Duration, error) {
	var w window
	charges, err := c.charge(ctx, c.load, func(ctx context.Context, clientPID int) error {
		if err := sleep(ctx, c.load.warmUp); err != nil {
			return err
		}
		// The client may be this process. So its CPU time is read last and then first,
		// without the work of reading the others.
		w.postgres -= cpuSecondsOfFamily(c.server.PID())
		w.service -= cpuSeconds(c.pid())
		w.client -= cpuSeconds(clientPID)
		w.begin = time.Now()
		err := sleep(ctx, c.load.duration)
		w.end = time.Now()
		w.client += cpuSeconds(clientPID)
		w.service += cpuSeconds(c.pid())
		w.postgres += cpuSecondsOfFamily(c.server.PID())
		return err
	})
	if err != nil {
		return Measurement{}, nil, err
	}
	return w.measurement(charges)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// measurement counts the charges that were answered in the window. It returns the
// latencies of the quiet merchant separately: the rate and the percentiles leave them out.
// The CPU time is that of all charges.
func (w window) measurement(charges []charge) (_ Measurement, quiet []time.Duration, _ error) {
	var latencies []time.Duration
	for _, c := range charges {
		switch {
		case c.at.Before(w.begin) || !c.at.Before(w.end):
		case c.quiet:
			quiet = append(quiet, c.took)
		default:
			latencies = append(latencies, c.took)
		}
	}
	n := len(latencies)
	if n == 0 {
		return Measurement{}, nil, fmt.Errorf("no charge within %v", w.end.Sub(w.begin))
	}
	slices.Sort(latencies)
	micros := func(seconds float64) float64 { return seconds * 1e6 / float64(n+len(quiet)) }
	return Measurement{
		RatePerSecond:  float64(n) / w.end.Sub(w.begin).Seconds(),
		P50Millis:      percentile(latencies, 50),
		P99Millis:      percentile(latencies, 99),
		PostgresMicros: micros(w.postgres),
		ServiceMicros:  micros(w.service),
		ClientMicros:   micros(w.client),
		Charges:        n,
		Made:           len(charges),
	}, quiet, nil
}

// percentile is the smallest value that p percent of the sorted values do not exceed
// (the nearest rank), in milliseconds.
func percentile(sorted []time.Duration, p int) float64 {
	rank := (len(sorted)*p + 99) / 100
	return float64(sorted[rank-1].Microseconds()) / 1000
}

// median is the middle value, or the mean of the two in the middle.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// CPU time and memory come from /proc. On systems without it they are 0, and the report
// says that they are unknown.

// cpuSeconds is the CPU time that a process has used so far, without its children.
func cpuSeconds(pid int) float64 { return stat(pid).CPUTime() }

func stat(pid int) procfs.ProcStat {
	process, err := procfs.NewProc(pid)
	if err != nil {
		return procfs.ProcStat{}
	}
	stat, _ := process.Stat() // it may have ended
	return stat
}

// clockTicks is the unit of times in /proc/PID/stat: a hundredth of a second on every
// Linux that Go runs on.
const clockTicks = 100

// cpuSecondsOfFamily is the CPU time that a process and its children have used so far,
// with the children that have ended. All processes of Postgres are children of the
// postmaster, which waits for each.
func cpuSecondsOfFamily(parent int) float64 {
	family := stat(parent)
	total := family.CPUTime() + float64(family.CUTime+family.CSTime)/clockTicks
	processes, _ := procfs.AllProcs()
	for _, process := range processes {
		if child := stat(process.PID); child.PPID == parent {
			total += child.CPUTime()
		}
	}
	return total
}

// peakMemory is the most memory that the process has held at once, in bytes.
func peakMemory(pid int) uint64 {
	process, err := procfs.NewProc(pid)
	if err != nil {
		return 0
	}
	status, _ := process.NewStatus()
	return status.VmHWM
}
