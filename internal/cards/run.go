package cards

import (
	"context"
	"sync"

	"github.com/paymentsvc/paymentsvc/internal/payments"
)

// Full tells whether the instance has no room for another call of the merchant.
func (s *Service) Full(merchantID int64) bool { return s.slots.full(merchantID) }

// Recover takes over due attempts, of any merchant that it has room for. It returns when
// none is left; the work goes on in the background. Every instance may call it at any
// time.
func (s *Service) Recover(ctx context.Context) error {
	for {
		limit := min(leaseBatchSize, s.slots.free())
		if limit == 0 {
			return nil
		}
		leased, err := s.lease(ctx, limit, s.slots.fullMerchants())
		if err != nil {
			return err
		}
		for _, a := range leased {
			s.start(a, false)
		}
		if len(leased) < limit {
			return nil
		}
	}
}

// start works on a leased attempt in the background. If there is no room, it gives the
// lease back.
func (s *Service) start(a *Attempt, fresh bool) {
	if !s.slots.take(a.MerchantID) {
		s.later(s.running, a, "the instance works on too many attempts")
		return
	}
	go func() {
		defer s.slots.give(a.MerchantID)
		s.work(s.running, a, fresh)
	}()
}

// startFresh works on an attempt that a request of this instance has begun, whether its
// caller waits or not.
func (s *Service) startFresh(ctx context.Context, pending *payments.InProgress) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	begun, err := s.leaseFirst(ctx, attemptRef{pending.MerchantID, pending.AttemptID})
	for _, a := range begun {
		s.start(a, true)
	}
	return err
}

// slots count the attempts that are worked on at once, so that a processor that hangs
// holds a bounded number of goroutines and connections.
type slots struct {
	mu         sync.Mutex
	closed     bool
	total      int
	ofMerchant map[int64]int
	working    sync.WaitGroup
}

func (s *slots) take(merchantID int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.fullLocked(merchantID) {
		return false
	}
	s.total++
	s.ofMerchant[merchantID]++
	s.working.Add(1)
	return true
}

func (s *slots) give(merchantID int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.ofMerchant[merchantID]--; s.ofMerchant[merchantID] == 0 {
		delete(s.ofMerchant, merchantID)
	}
	s.working.Done()
}

func (s *slots) full(merchantID int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fullLocked(merchantID)
}

func (s *slots) fullLocked(merchantID int64) bool {
	return s.total >= callsMax || s.ofMerchant[merchantID] >= callsMaxOfMerchant
}

func (s *slots) free() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return callsMax - s.total
}

func (s *slots) fullMerchants() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	full := []int64{} // not nil: that would be NULL in a statement
	for merchantID := range s.ofMerchant {
		if s.fullLocked(merchantID) {
			full = append(full, merchantID)
		}
	}
	return full
}

func (s *slots) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.working.Wait()
}
