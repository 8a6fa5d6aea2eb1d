package outbox

import "sync"

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
