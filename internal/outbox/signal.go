package outbox

import (
	"sync"
	"time"
)

// Signal wakes the readers of the feed in this process when something was committed. It
// only saves them time: what other instances commit, they find by looking again.
type Signal struct {
	mu      sync.Mutex
	changed chan struct{} // nil: nobody waits
}

// Changed is closed at the next Notify.
func (s *Signal) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

// Notify wakes all that wait.
func (s *Signal) Notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// Rest is how long a worker should pause after work on the feed that took so long. Charges
// come first: while callers wait for a transaction (busy), a worker takes a tenth of a core
// at most, and its events wait.
func Rest(took time.Duration, busy bool) time.Duration {
	if !busy {
		return 0
	}
	return min(9*took, time.Second)
}
