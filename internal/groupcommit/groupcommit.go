// Package groupcommit lets callers that wait at the same moment share one commit.
//
// A commit costs a flush to disk and two round trips, whether it carries one item or five hundred. So a [Group] runs a few
// workers; an item that arrives while a worker is idle is committed at once, alone, and items that arrive while all
// of them are busy gather and go together in the next batch. There is no timer: a quiet service has no added latency, and a busy
// one grows its batches by exactly as much as it needs.
//
// Every item has a key, and a key has one slot in the queue: callers that wait under one key at the same moment share one
// item, so five thousand retries of one request cost one. What they are all given is what was decided for the key; what
// that means for each of them is for the caller to say.
//
// The package knows nothing of what is committed. It is safe for one reason: a result is handed out only after the commit
// function returned it, and that function returns only when its batch's outcome is known.
package groupcommit

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// Errors of Do, beside those of the commit function.
var (
	// ErrQueueFull means that the item was not taken: too many callers wait already.
	ErrQueueFull = errors.New("too many callers are waiting for a commit")
	// ErrNotStarted means that the caller gave up, or the group was closed, before the item was taken into a batch.
	// It has had no effect and will have none.
	ErrNotStarted = errors.New("the item was dropped before it was committed")
	// ErrStarted means that the caller gave up while its item was being committed. It may have its effect.
	ErrStarted = errors.New("the item was being committed when its caller left")
)

// PanicError is what a batch fails with when its commit function panicked.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("committing panicked: %v", e.Value) }

// Config of a Group. All fields but Observer are required.
type Config[T, R any] struct {
	// Commit commits a batch of values, whose keys differ, and returns their results in the same order. An error means
	// that none of them has an effect, or that the outcome stays unknown. Its context ends at Timeout and not before.
	Commit func(ctx context.Context, batch []T) ([]R, error)
	// Splittable tells whether an error of Commit may be one item's fault. Such a batch is halved until the culprit is
	// alone, so that it costs its neighbours log n commits and not their lives.
	Splittable func(error) bool

	Workers      int           // batches in flight at once; each occupies a connection
	BatchSizeMax int           // items in one batch
	QueueSizeMax int           // callers that may wait at once
	Timeout      time.Duration // of one call of Commit

	Observer Observer
}

// Observer is told what a Group does, for whoever watches it run. The workers call its functions, after they have handed
// out results, so these should be quick; one that is nil is not called.
type Observer struct {
	Waited    func(time.Duration)                           // an item was taken into a batch this long after it was queued
	Committed func(size int, took time.Duration, err error) // a call of Commit ended
}

// Group is a running group commit.
type Group[K comparable, T, R any] struct {
	config Config[T, R]
	done   sync.WaitGroup // the workers

	mu      sync.Mutex // guards everything below
	work    sync.Cond  // a slot was queued, or the group was closed
	queue   []*slot[K, T, R]
	slots   map[K]*slot[K, T, R] // the queued ones; a slot leaves the map when it is taken into a batch
	waiting int                  // callers in queued slots
	closed  bool
}

// slot is one key's place in the queue, or in a batch. Once it is taken it belongs to the worker that took it, until
// ready is closed; its callers then read the result.
type slot[K comparable, T, R any] struct {
	key     K
	queued  time.Time
	waiters []*waiter[T] // in order of arrival
	taken   bool         // by a worker; guarded by the group's lock
	ready   chan struct{}
	result  R
	err     error
}

// waiter is one caller of Do.
type waiter[T any] struct {
	value     T
	committed bool // it is its slot's first, so its value is the one that is committed
}

// New starts the workers. Close ends them.
func New[K comparable, T, R any](config Config[T, R]) *Group[K, T, R] {
	g := &Group[K, T, R]{config: config, slots: map[K]*slot[K, T, R]{}}
	g.work.L = &g.mu
	for range config.Workers {
		g.done.Go(g.run)
	}
	return g
}

// Do waits until the key has been decided by a commit that began after the call, and returns what was decided.
// committed tells whether it was this caller's value that was committed, and not that of another caller under
// the same key.
//
// When ctx ends the caller leaves: with ErrNotStarted if its value can have no effect any more, with ErrStarted if it may.
// A commit that has begun is never cancelled by a caller.
func (g *Group[K, T, R]) Do(ctx context.Context, key K, value T) (result R, committed bool, err error) {
	w := &waiter[T]{value: value}
	s, err := g.enqueue(key, w)
	if err != nil {
		return result, false, err
	}
	select {
	case <-s.ready:
		return s.result, w.committed, s.err
	case <-ctx.Done():
		return result, false, g.leave(s, w)
	}
}

func (g *Group[K, T, R]) enqueue(key K, w *waiter[T]) (*slot[K, T, R], error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, ErrNotStarted
	}
	if g.waiting >= g.config.QueueSizeMax {
		return nil, ErrQueueFull
	}
	g.waiting++
	if s := g.slots[key]; s != nil {
		s.waiters = append(s.waiters, w)
		return s, nil
	}
	s := &slot[K, T, R]{key: key, queued: time.Now(), waiters: []*waiter[T]{w}, ready: make(chan struct{})}
	g.slots[key] = s
	g.queue = append(g.queue, s)
	g.work.Signal()
	return s, nil
}

// leave takes a caller out of a queued slot, and a slot that nobody waits for out of the queue: there it would take the place, in
// memory and in a batch, of one that somebody waits for. It is too late for a slot that has been taken.
func (g *Group[K, T, R]) leave(s *slot[K, T, R], w *waiter[T]) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.taken {
		return ErrStarted
	}
	s.waiters = slices.DeleteFunc(s.waiters, func(other *waiter[T]) bool { return other == w })
	g.waiting--
	if len(s.waiters) == 0 {
		delete(g.slots, s.key)
		g.queue = slices.DeleteFunc(g.queue, func(other *slot[K, T, R]) bool { return other == s })
	}
	return ErrNotStarted
}

// run is one worker: take what is waiting, commit it, hand out the results, until the group is closed.
func (g *Group[K, T, R]) run() {
	for {
		batch := g.take()
		if batch == nil {
			return
		}
		taken := time.Now()
		g.commit(batch)
		g.observeWaits(batch, taken)
	}
}

func (g *Group[K, T, R]) observeWaits(batch []*slot[K, T, R], taken time.Time) {
	if g.config.Observer.Waited == nil {
		return
	}
	for _, s := range batch {
		g.config.Observer.Waited(taken.Sub(s.queued))
	}
}

// take waits for work and removes a batch from the queue; nil once the group is closed and the queue is empty.
func (g *Group[K, T, R]) take() []*slot[K, T, R] {
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		if batch := g.takeQueued(); len(batch) > 0 {
			return batch
		}
		if g.closed {
			return nil
		}
		g.work.Wait()
	}
}

// takeQueued removes up to a batch of slots from the queue. The caller holds the lock.
func (g *Group[K, T, R]) takeQueued() []*slot[K, T, R] {
	n := min(len(g.queue), g.config.BatchSizeMax)
	batch := make([]*slot[K, T, R], 0, n)
	for _, s := range g.queue[:n] {
		delete(g.slots, s.key)
		s.taken = true
		g.waiting -= len(s.waiters)
		s.waiters[0].committed = true
		batch = append(batch, s)
	}
	g.queue = slices.Delete(g.queue, 0, n)
	return batch
}

// commit commits the slots and hands out their results: together or, if the batch is refused for what may be one item's
// fault, in two halves.
func (g *Group[K, T, R]) commit(batch []*slot[K, T, R]) {
	began := time.Now()
	results, err := g.commitOnce(batch)
	took := time.Since(began)
	if observe := g.config.Observer.Committed; observe != nil {
		defer func() { observe(len(batch), took, err) }() // when the callers have been woken
	}
	if err != nil && len(batch) > 1 && g.config.Splittable(err) {
		g.commit(batch[:len(batch)/2])
		g.commit(batch[len(batch)/2:])
		return
	}
	for i, s := range batch {
		if s.err = err; err == nil {
			s.result = results[i]
		}
		close(s.ready)
	}
}

func (g *Group[K, T, R]) commitOnce(batch []*slot[K, T, R]) (results []R, err error) {
	values := make([]T, len(batch))
	for i, s := range batch {
		values[i] = s.waiters[0].value
	}
	// The batch belongs to all of its callers, so no caller's context governs it.
	ctx, cancel := context.WithTimeout(context.Background(), g.config.Timeout)
	defer cancel()
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{Value: value, Stack: debug.Stack()}
		}
	}()
	return g.config.Commit(ctx, values)
}

// Waiting is how many callers are in the queue, not counting those in a batch.
func (g *Group[K, T, R]) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiting
}

// Close takes no more items, commits those that wait, and returns when the workers have ended.
func (g *Group[K, T, R]) Close() {
	g.mu.Lock()
	g.closed = true
	g.work.Broadcast()
	g.mu.Unlock()
	g.done.Wait()
}
