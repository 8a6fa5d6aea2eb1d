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

// fullJitter is the wait after the nth attempt: a random time below a limit that doubles
// each time. So callers that failed together do not retry together. (AWS Architecture
// Blog, "Exponential Backoff And Jitter", 2015, compares the kinds of jitter.)
func fullJitter(n int, base, most time.Duration) time.Duration {
	ceiling := most
	if shift := n - 1; base < most>>min(shift, 62) {
		ceiling = base << shift
	}
	return rand.N(ceiling) //nolint:gosec // not a secret
}

// retryAfterOf reads Retry-After (RFC 9110, section 10.2.3): seconds or a date. A date is
// compared with the server's Date, if there is one, because the clocks may differ. An
// absent or malformed header is 0.
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

// sleep waits until the time is over or the context ends.
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
