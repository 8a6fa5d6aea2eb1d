package wire

import (
	"errors"
	"sync"
	"testing"
	"time"
)

// waitLimit bounds Fault.Wait. It is far above what any statement of ours takes, so
// that it only ends a broken test.
const waitLimit = 15 * time.Second

// errStopped ends a session that a fault or the test has cut.
var errStopped = errors.New("session stopped by a fault")

// Fault is one effect at one place. The proxy of Start fails its test if a fault never
// fired: what did not happen proves nothing.
type Fault struct {
	match  Match
	effect Effect
	proxy  *Proxy

	matched  int  // statements that matched; guarded by proxy.mu
	spent    bool // fires no more; guarded by proxy.mu
	optional bool // guarded by proxy.mu

	mu       sync.Mutex
	fired    int
	changed  chan struct{} // closed, and replaced, whenever fired grows
	left     []*session    // sessions whose server side LeavingServer left open
	release  chan struct{}
	cut      chan struct{}
	released sync.Once
	wasCut   sync.Once
}

func newFault(proxy *Proxy, match Match, effect Effect) *Fault {
	return &Fault{
		match: match, effect: effect, proxy: proxy,
		changed: make(chan struct{}), release: make(chan struct{}), cut: make(chan struct{}),
	}
}

func (f *Fault) String() string { return f.effect.name + " on " + f.match.name }

// Wait returns when the fault has fired. For a hold that means: the statement, or its
// reply, is being held, and the server has executed everything before it.
func (f *Fault) Wait(t testing.TB) {
	t.Helper()
	f.WaitFor(t, 1)
}

// WaitFor returns when the fault has fired n times.
func (f *Fault) WaitFor(t testing.TB, n int) {
	t.Helper()
	limit := time.NewTimer(waitLimit)
	defer limit.Stop()
	for {
		f.mu.Lock()
		fired, changed := f.fired, f.changed
		f.mu.Unlock()
		if fired >= n {
			return
		}
		select {
		case <-changed:
		case <-limit.C:
			t.Fatalf("%s: fired %d times in %s, want %d; seen:\n%s", f, fired, waitLimit, n,
				f.proxy.tail())
		}
	}
}

// Fired says how often the fault happened. It is counted just before the client can
// notice.
func (f *Fault) Fired() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fired
}

// Release lets go what is held, and whatever the fault would hold later; or resets the
// server connections that LeavingServer left open.
func (f *Fault) Release() {
	f.released.Do(func() { close(f.release) })
	f.mu.Lock()
	left := f.left
	f.left = nil
	f.mu.Unlock()
	for _, s := range left {
		s.reset()
	}
}

// Cut resets both connections of what is held instead of releasing it: what the client
// had sent after the held statement is lost. Use it after killing a client whose
// statement is held.
func (f *Fault) Cut() {
	f.wasCut.Do(func() { close(f.cut) })
}

// Off takes the fault out: it does not fire any more.
func (f *Fault) Off() {
	f.proxy.mu.Lock()
	defer f.proxy.mu.Unlock()
	f.spent = true
}

// Optional excuses a fault that never fires.
func (f *Fault) Optional() *Fault {
	f.proxy.mu.Lock()
	defer f.proxy.mu.Unlock()
	f.optional = true
	return f
}

func (f *Fault) fire() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fired++
	close(f.changed)
	f.changed = make(chan struct{})
}

// hold fires and waits until the test or the end of the session says go on.
func (f *Fault) hold(s *session) error {
	f.fire()
	select {
	case <-f.release:
		return nil
	case <-f.cut:
		s.reset()
		return errStopped
	case <-s.done:
		return errStopped
	}
}

// leave remembers a session whose server side outlives its client's.
func (f *Fault) leave(s *session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = append(f.left, s)
}

// count notes a match and says whether the fault is due at it. The caller holds
// proxy.mu.
func (f *Fault) count() bool {
	if f.spent {
		return false
	}
	f.matched++
	if f.match.every {
		return true
	}
	f.spent = f.matched >= f.match.nth
	return f.matched == f.match.nth
}
