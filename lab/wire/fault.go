package wire

import (
	"errors"
	"sync"
	"testing"
	"time"
)

// waitLimit bounds every wait. It is far above what any statement takes, so that it
// only ends a broken test.
const waitLimit = 15 * time.Second

// errStopped ends a session that a fault or the test has cut.
var errStopped = errors.New("session stopped by a fault")

// Fault is one effect at one place. The proxy fails its test if a fault never fired: an
// event that did not happen proves nothing.
type Fault struct {
	match  Match
	effect Effect
	proxy  *Proxy

	matched int  // statements that matched; guarded by proxy.mu
	spent   bool // fires no more; guarded by proxy.mu

	fired, release, cut             chan struct{} // closed when it happens
	firedOnce, releaseOnce, cutOnce sync.Once
}

func (f *Fault) String() string { return f.effect.name + " on " + f.match.name }

// Wait returns when the fault has fired. For a hold that means: the statement, or its
// reply, is being held, and the server has executed everything before it.
func (f *Fault) Wait(t testing.TB) {
	t.Helper()
	select {
	case <-f.fired:
	case <-time.After(waitLimit):
		t.Fatalf("%s: did not fire in %s; seen:\n%s", f, waitLimit, f.proxy.tail())
	}
}

// Release lets go of everything that the fault holds now or would hold later.
func (f *Fault) Release() { f.releaseOnce.Do(func() { close(f.release) }) }

// Cut resets both connections of a held statement instead of releasing it. Later
// statements of the client are lost. Use it after killing a client whose statement is
// held.
func (f *Fault) Cut() { f.cutOnce.Do(func() { close(f.cut) }) }

// Off takes the fault out: it does not fire any more.
func (f *Fault) Off() {
	f.proxy.mu.Lock()
	defer f.proxy.mu.Unlock()
	f.spent = true
}

// fire comes just before the client can notice.
func (f *Fault) fire() { f.firedOnce.Do(func() { close(f.fired) }) }

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
