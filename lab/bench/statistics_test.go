package bench

import (
	"testing"
	"time"
)

func TestPercentileIsTheNearestRank(t *testing.T) {
	t.Parallel()
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, c := range []struct {
		name   string
		sorted []time.Duration
		p      int
		want   time.Duration
	}{
		{"none", nil, 99, 0},
		{"one is every percentile", []time.Duration{7}, 50, 7},
		{"the median of an even number is the lower one", []time.Duration{1, 2, 3, 4}, 50, 2},
		{"of an odd number the middle", []time.Duration{1, 2, 3}, 50, 2},
		{"99 of 100", hundred, 99, 99},
		{"all", hundred, 100, 100},
		{"99 of 10 is the largest", []time.Duration{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 99, 10},
		{"0 is the smallest", hundred, 0, 1},
	} {
		if got := percentile(c.sorted, c.p); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0},
		{[]float64{3}, 3},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v: got %v, want %v", c.values, got, c.want)
		}
	}
}

func TestOnlyWhatIsAnsweredWithinTheWindowCounts(t *testing.T) {
	t.Parallel()
	begin := time.Unix(1_000_000, 0)
	end := begin.Add(2 * time.Second)
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	clients := []*client{
		{
			answers: []answer{{begin.Add(-1), ms(900)}, {begin, ms(1)},
				{begin.Add(ms(1500)), ms(3)}},
		},
		{answers: []answer{{end.Add(-1), ms(2)}, {end, ms(900)}}},
	}
	want := outcome{Made: 5, Charges: 3, WindowSeconds: 2, P50Millis: 2, P99Millis: 3}
	if got := judge(clients, begin, end); got != want {
		t.Errorf("of the load generator: got %+v, want %+v", got, want)
	}
	var transactions []transaction
	for _, c := range clients {
		for _, a := range c.answers {
			transactions = append(transactions, transaction(a))
		}
	}
	if got := judgeTransactions(transactions, begin, end); got != want {
		t.Errorf("of pgbench: got %+v, want %+v", got, want)
	}
}

func TestRatiosAreTakenWithinARound(t *testing.T) {
	t.Parallel()
	rival := func(name string, n int, rates ...float64) *contender {
		c := &contender{name: name, load: Load{Pattern: Uniform, Connections: n}}
		for _, rate := range rates {
			c.measured = append(c.measured, Measurement{RatePerSecond: rate})
		}
		return c
	}
	// The machine was ten times slower in the second round, and somewhat in the third,
	// where 64 was the better shape.
	all := results([]*contender{
		rival(paymentsvcName, 64, 4000, 600, 1500),
		rival(pgbenchName, 64, 1000, 100, 500),
		rival(pgbenchName, 16, 2000, 200, 300),
	}, 64)
	for i, want := range []struct{ rate, to64, toBest float64 }{{1500, 4, 3}, {500, 1, 0.5},
		{300, 2, 1}} {
		got := all[i]
		if got.Median.RatePerSecond != want.rate || got.RatioToPgbench != want.to64 ||
			got.RatioToPgbenchBest != want.toBest {
			t.Errorf("%s: got %v, %v, %v, want %+v", got.label(),
				got.Median.RatePerSecond, got.RatioToPgbench, got.RatioToPgbenchBest, want)
		}
	}
}

func TestAFigureThatIsUnknownOnceHasNoMedian(t *testing.T) {
	t.Parallel()
	forty := 40.0
	got := medianOf([]Measurement{{PostgresMicros: &forty, ServiceMicros: &forty},
		{PostgresMicros: &forty}})
	if got.ServiceMicros != nil || got.PostgresMicros == nil || *got.PostgresMicros != 40 {
		t.Errorf("got %v for the service and %v for Postgres", got.ServiceMicros,
			got.PostgresMicros)
	}
}
