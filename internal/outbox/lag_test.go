package outbox

import (
	"testing"
	"time"
)

func TestLagIsTheAgeOfTheOldestRunningTransaction(t *testing.T) {
	t.Parallel()
	var lag Lag
	began := time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)
	for _, step := range []struct {
		second           int
		oldest, nextID   uint64
		wantHeld         time.Duration
		whatTheServerRan string
	}{
		{0, 100, 100, 0, "nothing"},
		{1, 100, 101, 0, "100 has begun"},
		{2, 100, 150, time.Second, "100, and others that have ended"},
		{3, 100, 150, 2 * time.Second, "100"},
		{4, 149, 160, 2 * time.Second, "149, which the sample of second 2 knew"},
		{5, 160, 160, 0, "nothing"},
		{6, 160, 170, 0, "160 has begun"},
		{9, 160, 180, 3 * time.Second, "160"},
		{10, 90, 95, 0, "another server has taken over, and its ids are behind"},
		{11, 90, 96, time.Second, "90"},
	} {
		lag.add(lagSample{began.Add(time.Duration(step.second) * time.Second), step.nextID},
			step.oldest)
		if got := lag.Held(); got != step.wantHeld {
			t.Errorf("second %d, %s: held for %v, want %v", step.second, step.whatTheServerRan,
				got, step.wantHeld)
		}
	}
}

func TestLagOfDaysTakesBoundedMemory(t *testing.T) {
	t.Parallel()
	var lag Lag
	began := time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)
	const seconds = 200_000
	for i := range uint64(seconds) {
		lag.add(lagSample{began.Add(time.Duration(i) * time.Second), 101 + i}, 100)
	}
	if want := (seconds - 1) * time.Second; lag.Held() != want {
		t.Errorf("held for %v, want %v", lag.Held(), want)
	}
	if len(lag.samples) > lagSamplesMax {
		t.Errorf("%d samples are kept", len(lag.samples))
	}
}
