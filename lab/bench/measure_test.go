package bench

import (
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
)

func TestPercentileAndMedian(t *testing.T) {
	t.Parallel()
	var sorted []time.Duration
	for i := range 100 {
		sorted = append(sorted, time.Duration(i+1)*time.Millisecond)
	}
	for _, c := range []struct {
		n, p int
		want float64
	}{{1, 50, 1}, {4, 50, 2}, {3, 50, 2}, {100, 99, 99}, {10, 99, 10}} {
		if got := percentile(sorted[:c.n], c.p); got != c.want {
			t.Errorf("%d%% of %d: got %v, want %v", c.p, c.n, got, c.want)
		}
	}
	if got := median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("median of 1 to 4: got %v", got)
	}
}

func TestOnlyChargesAnsweredInTheWindowCount(t *testing.T) {
	t.Parallel()
	begin := time.Unix(1_000_000, 0)
	end := begin.Add(2 * time.Second)
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	w := window{begin: begin, end: end, postgres: 4e-6, service: 8e-6}
	got, quiet, err := w.measurement([]charge{
		{begin.Add(-1), ms(900), false},
		{begin, ms(1), false},
		{begin.Add(ms(1500)), ms(3), false},
		{end.Add(-1), ms(2), false},
		{end, ms(900), false},
		{begin.Add(-1), ms(800), true},
		{begin, ms(5), true},
		{end, ms(800), true},
	})
	want := Measurement{
		Made: 8, Charges: 3, RatePerSecond: 1.5, P50Millis: 2, P99Millis: 3,
		PostgresMicros: 1, ServiceMicros: 2,
	}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if !slices.Equal(quiet, []time.Duration{ms(5)}) {
		t.Errorf("latencies of the quiet merchant: got %v", quiet)
	}
	if got, _, err := w.measurement(nil); err == nil {
		t.Errorf("no charge at all is measured as %+v", got)
	}
}

func TestConfigOutOfRangeIsRefused(t *testing.T) {
	t.Parallel()
	err := Config{
		Accounts: 1, Merchants: 1, Connections: []int{0, 5}, Clients: []int{5, 151},
		Rounds: 0, Seconds: 0,
	}.check()
	const want = "accounts: [1] is not from 2 to 90000\n" +
		"connections: [0 5] is not from 1 to 1000\nclients: [5 151] is not from 1 to 150\n" +
		"rounds: [0] is not from 1 to 1000\nseconds: 0 is below 0.1, or the warm-up 0 is below 0"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A shell stands for the postmaster. Its first child works and ends. Its second child
// works until the end of the test.
func TestCPUTimeCountsRunningAndEndedChildren(t *testing.T) {
	t.Parallel()
	c, _, err := startChild(t.Context(), exec.Command("sh", "-c",
		"sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done'; (while :; do :; done) & wait"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-c.pid(), syscall.SIGKILL) })
	await.Until(t, time.Minute, "the first child has ended", func() bool {
		return stat(c.pid()).CUTime > 0
	})
	ended := cpuSecondsOfFamily(c.pid())
	await.Until(t, time.Minute, "the second child counts while it runs", func() bool {
		return cpuSecondsOfFamily(c.pid()) > ended+0.05
	})
	if own := cpuSeconds(c.pid()); own >= ended {
		t.Errorf("the shell itself used %v of %v seconds", own, ended)
	}
}

func TestRatiosCompareRatesOfOneRound(t *testing.T) {
	t.Parallel()
	rival := func(name string, n int, rates ...float64) *contender {
		c := &contender{name: name, load: load{pattern: Uniform, connections: n}}
		for _, rate := range rates {
			c.measured = append(c.measured, Measurement{RatePerSecond: rate})
		}
		return c
	}
	// The machine was ten times slower in the second round. In the third round, 64
	// clients were better than 16.
	all := results([]*contender{
		rival(paymentsvcName, 64, 4000, 600, 1500),
		rival(pgbenchName, 64, 1000, 100, 500),
		rival(pgbenchName, 16, 2000, 200, 300),
	})
	for i, want := range []struct{ rate, to64, toBest float64 }{
		{1500, 4, 3}, {500, 1, 0.5}, {300, 2, 1},
	} {
		got := all[i]
		if got.Median.RatePerSecond != want.rate || got.RatioToPgbench != want.to64 ||
			got.RatioToPgbenchBest != want.toBest {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}
