package client

import "sync"

// retryReward is the part of a token that an answered call adds to the budget. So in the
// long run there is at most one retry for ten calls. (gRPC's retry throttling, gRFC A6,
// has the same ratio. The AWS SDKs have a similar retry quota.)
const retryReward = 0.1

// budget is a token bucket that all calls of a client share. A retry takes a token. A
// call that the service answers gives a part of a token back. A full budget is enough
// for short failures. When the service is down, the budget is soon empty, and each call
// sends one request only.
type budget struct {
	mu     sync.Mutex
	most   float64
	tokens float64 // guarded by mu
}

func newBudget(retries int) *budget {
	return &budget{most: float64(retries), tokens: float64(retries)}
}

// spend takes a token, if one is left.
func (b *budget) spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// earn adds the reward of an answered call.
func (b *budget) earn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(b.tokens+retryReward, b.most)
}
