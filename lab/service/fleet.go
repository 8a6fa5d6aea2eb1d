package service

import (
	"math/rand/v2"
	"sync"
	"testing"
)

// Fleet is several instances on one database, as behind a load balancer that knows
// nothing of their health.
type Fleet struct {
	t           testing.TB
	databaseURL string
	settings    []string

	mu        sync.Mutex  // guards what follows
	instances []*Instance // replaced by Restart
}

// StartFleet starts n instances and returns once all are ready.
func StartFleet(t testing.TB, n int, databaseURL string, settings ...string) *Fleet {
	t.Helper()
	f := &Fleet{t: t, databaseURL: databaseURL, settings: settings}
	for range n {
		f.instances = append(f.instances, Serve(t, databaseURL, settings...))
	}
	f.AwaitReady()
	return f
}

// Instances are the present ones.
func (f *Fleet) Instances() []*Instance {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*Instance(nil), f.instances...)
}

// Restart puts a new process in the place of instance i, which has ended, and does not
// wait for it to be ready. It listens on another port: the old one may be anybody's by
// now.
func (f *Fleet) Restart(i int) *Instance {
	f.t.Helper()
	in := Serve(f.t, f.databaseURL, f.settings...)
	in.URL() // so that Pick, which others call, need not wait
	f.mu.Lock()
	defer f.mu.Unlock()
	f.instances[i] = in
	return in
}

// AwaitReady waits until every instance is ready.
func (f *Fleet) AwaitReady() {
	f.t.Helper()
	for _, in := range f.Instances() {
		in.AwaitReady(startPatience)
	}
}

// Pick is the address of any instance, dead or alive.
func (f *Fleet) Pick() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return "http://" + f.instances[rand.IntN(len(f.instances))].address
}
