package webhooks

import (
	"math/rand/v2"
	"time"
)

// backoff is the wait after the given try, from 1 on: exponential with full jitter, so
// that deliveries which failed together do not return together. Source: "Exponential
// Backoff And Jitter", AWS Architecture Blog.
func (s *Schedule) backoff(number int64) time.Duration {
	ceiling := s.First
	for range number - 1 {
		if ceiling >= s.Longest {
			break
		}
		ceiling *= 2
	}
	return rand.N(min(ceiling, s.Longest)) //nolint:gosec // jitter needs no secrecy
}
