// Package await waits for a condition that nobody announces, and never for a time.
package await

import (
	"testing"
	"time"
)

// lookInterval is how often a condition is looked at that nobody announces.
const lookInterval = 5 * time.Millisecond

// Until waits until the condition holds, and ends the test if it does not within the limit.
func Until(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for !holds() {
		if waited := time.Since(began); waited > limit {
			t.Fatalf("waited %v for this in vain: %s", waited.Round(time.Millisecond), what)
		}
		<-tick.C
	}
	if waited := time.Since(began); waited > time.Second {
		t.Logf("waited %v for this: %s", waited.Round(time.Millisecond), what)
	}
}
