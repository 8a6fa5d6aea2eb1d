package httpapi

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// RateLimit limits the requests of a merchant to one instance: PerSecond on average, and
// Burst at once after a pause. Each instance keeps its own token buckets. So n instances
// allow up to n times the limit.
type RateLimit struct {
	PerSecond int
	Burst     int
}

// bucketsMax bounds the memory. The least recent merchants are dropped, and begin again
// with a full bucket.
const bucketsMax = 10_000

type rateLimiter struct {
	RateLimit
	policy  string // the RateLimit-Policy header
	buckets *lru.Cache[int64, *rate.Limiter]
}

func newRateLimiter(limit RateLimit) *rateLimiter {
	buckets, err := lru.New[int64, *rate.Limiter](bucketsMax)
	if err != nil {
		panic(err) // only for a size below 1
	}
	window := (limit.Burst + limit.PerSecond - 1) / limit.PerSecond // seconds to fill a bucket
	return &rateLimiter{limit, fmt.Sprintf(`"default";q=%d;w=%d`, limit.Burst, window), buckets}
}

// limit refuses requests over the limit before they are read, so their keys stay free.
// Every answer says how much is left (draft-ietf-httpapi-ratelimit-headers-11).
func (l *rateLimiter) limit(a *api) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return a.handle(func(w http.ResponseWriter, r *http.Request) error {
			bucket := l.bucketOf(requestOf(r).identity.MerchantID)
			now := time.Now()
			allowed := bucket.AllowN(now, 1)
			left, seconds := l.left(bucket.TokensAt(now), allowed)
			w.Header().Set("RateLimit-Policy", l.policy)
			w.Header().Set("RateLimit", fmt.Sprintf(`"default";r=%d;t=%d`, left, seconds))
			if !allowed {
				w.Header().Set("Retry-After", strconv.Itoa(seconds))
				return errRateLimited
			}
			next.ServeHTTP(w, r)
			return nil
		})
	}
}

func (l *rateLimiter) bucketOf(merchantID int64) *rate.Limiter {
	if bucket, ok := l.buckets.Get(merchantID); ok {
		return bucket
	}
	fresh := rate.NewLimiter(rate.Limit(l.PerSecond), l.Burst)
	if other, ok, _ := l.buckets.PeekOrAdd(merchantID, fresh); ok { // another request was faster
		return other
	}
	return fresh
}

// left is the number of requests that the bucket allows now, and the seconds until it
// allows one more, rounded up.
func (l *rateLimiter) left(tokens float64, allowed bool) (requests, seconds int) {
	if allowed {
		requests = max(0, int(tokens))
	}
	missing := float64(requests+1) - tokens
	return requests, max(1, int(math.Ceil(missing/float64(l.PerSecond))))
}
