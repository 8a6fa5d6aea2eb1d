package cards

import (
	"context"
	"sync"

	"github.com/paymentsvc/paymentsvc/internal/payments"
)

// Full tells whether the instance has no room for another call of the merchant.
func (s *Service) Full(merchantID int64) bool { return s.places.full(merchantID) }

// Recover leases due attempts of every merchant that the instance has room for, and
// works on them in the background. It returns when none is left to lease. While the
// processor is away, it leases only a few, to find out when it is back: during a long
// outage, the tries of many open attempts would slow down all other work. Every instance
// may call it at any time.
func (s *Service) Recover(ctx context.Context) error {
	for {
		limit, away := min(leaseBatchSize, s.places.free()), s.processor.Silent()
		if away {
			limit = min(probeBatchSize, limit)
		}
		if limit == 0 {
			return nil
		}
		leased, err := s.lease(ctx, limit, s.places.fullMerchants())
		for _, a := range leased {
			s.start(a, false)
		}
		if err != nil || away || len(leased) < limit {
			return err
		}
	}
}

// start works on a leased attempt in the background. If there is no room, it ends the
// lease.
func (s *Service) start(a *Attempt, fresh bool) {
	if !s.places.acquire(a.MerchantID) {
		s.tryLater(s.running, a, "the instance works on too many attempts")
		return
	}
	go func() {
		defer s.places.release(a.MerchantID)
		s.work(s.running, a, fresh)
	}()
}

// startFresh works on an attempt that a request of this instance has just begun. The
// work goes on if the caller leaves.
func (s *Service) startFresh(ctx context.Context, pending *payments.InProgress) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	begun, err := s.leaseFirst(ctx, attemptRef{pending.MerchantID, pending.AttemptID})
	for _, a := range begun {
		s.start(a, true)
	}
	return err
}

// places limit the attempts that the instance works on at once. So a processor that
// hangs costs a bounded number of goroutines and connections. A merchant may have as many
// places as are free. So the calls of one merchant, or of a few, never take all of them.
type places struct {
	mu         sync.Mutex
	closed     bool
	total      int
	ofMerchant map[int64]int
	working    sync.WaitGroup
}

func (p *places) acquire(merchantID int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.fullLocked(merchantID) {
		return false
	}
	p.total++
	p.ofMerchant[merchantID]++
	p.working.Add(1)
	return true
}

func (p *places) release(merchantID int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total--
	if p.ofMerchant[merchantID]--; p.ofMerchant[merchantID] == 0 {
		delete(p.ofMerchant, merchantID)
	}
	p.working.Done()
}

func (p *places) full(merchantID int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fullLocked(merchantID)
}

func (p *places) fullLocked(merchantID int64) bool {
	return p.ofMerchant[merchantID] >= callsMax-p.total
}

func (p *places) free() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return callsMax - p.total
}

func (p *places) fullMerchants() []int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	full := []int64{} // not nil: that would be NULL in a statement
	for merchantID := range p.ofMerchant {
		if p.fullLocked(merchantID) {
			full = append(full, merchantID)
		}
	}
	return full
}

func (p *places) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.working.Wait()
}
