package client

import (
	"context"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// fullJitter is a random wait before the attempt that follows the nth: anything up to a
// ceiling that doubles each time. Callers who failed together come back spread over the
// whole of it. (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015, which
// compares the kinds.)
func fullJitter(n int, base, most time.Duration) time.Duration {
	ceiling := most
	if shift := n - 1; base < most>>min(shift, 62) {
		ceiling = base << shift
	}
	return rand.N(ceiling) //nolint:gosec // it spreads callers, and hides nothing
}

// retryAfterOf reads a Retry-After (RFC 9110, section 10.2.3): seconds, or a date,
// which is compared with the same server's Date if there is one, because its clock need
// not be ours. 0: there is none that makes sense.
func retryAfterOf(header http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(header.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(text, 10, 63); err == nil {
		if seconds > math.MaxInt64/uint64(time.Second) {
			return math.MaxInt64
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		now = date
	}
	return max(0, at.Sub(now))
}

// sleep waits, but not beyond the context's end.
func sleep(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
