package client

import "sync"

// retryReward is what a call that was answered adds to the budget: in the long run a
// tenth as many retries as calls. (gRPC's retry throttling has the same proportion,
// gRFC A6; the AWS SDKs' retry quota is of the same kind.)
const retryReward = 0.1

// budget is a token bucket that all calls of a client share. A retry takes a token, a
// call that the service answers gives a part of one back. While nothing is wrong it is
// full and lets every short trouble be ridden out; when the service is down it is soon
// empty, and each call then costs the service one request and not many.
type budget struct {
	mu     sync.Mutex
	most   float64
	tokens float64 // guarded by mu
}

func newBudget(retries int) *budget {
	return &budget{most: float64(retries),
		tokens: float64(retries)}
}

// spend takes a retry from the budget, if one is left.
func (b *budget) spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// earn notes a call that was answered.
func (b *budget) earn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(b.tokens+retryReward, b.most)
}
