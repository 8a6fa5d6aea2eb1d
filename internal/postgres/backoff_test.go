package postgres

import (
	"math"
	"testing"
	"time"
)

// A transaction that runs again waits for a random time below a ceiling. The ceiling
// doubles with each attempt, up to half a second.
func TestBackoffGrowsIsBoundedAndJittered(t *testing.T) {
	t.Parallel()
	const draws = 10_000
	for attempt, ceiling := range map[int]time.Duration{
		0: 10 * time.Millisecond, 1: 20 * time.Millisecond, 5: 320 * time.Millisecond,
		6: 500 * time.Millisecond, math.MaxInt: 500 * time.Millisecond,
	} {
		least, most, sum := time.Duration(math.MaxInt64), time.Duration(0), time.Duration(0)
		for range draws {
			wait := backoff(attempt)
			least, most, sum = min(least, wait), max(most, wait), sum+wait
		}
		if least < 0 || most >= ceiling {
			t.Errorf("attempt %d waits for %v to %v, want less than %v", attempt, least, most,
				ceiling)
		}
		// 10,000 even draws come this near to both ends and to the middle.
		if mean := sum / draws; least > ceiling/100 || most < ceiling*99/100 ||
			mean < ceiling*9/20 || mean > ceiling*11/20 {
			t.Errorf("attempt %d waits for %v to %v, %v on average; want it spread evenly up to "+
				"%v", attempt, least, most, mean, ceiling)
		}
	}
}
