// Package groupcommit lets callers that wait at the same moment share one commit.
//
// A commit costs a flush to disk and two round trips, whether it carries one item or
// five hundred. So a [Group] runs a few workers. An item that arrives while a worker is
// idle is committed at once, alone. Items that arrive while all workers are busy
// gather, and go together in the next batch. There is no timer: a quiet service has no
// added latency, and a busy one grows its batches by exactly as much as it needs.
//
// Every item has a key, and a key has one slot in the queue. Callers that wait under
// one key at the same moment share the slot, and one item of theirs is committed: five
// thousand retries of one request cost one. All of them get that item back, with what
// the commit made of it. What that means for each of them is for the caller to say.
//
// By default, a batch has whatever items wait. With [Config].Lane it has items of one lane
// only. Then the lanes take turns, a batch each. The next turn is that of the lane whose
// last turn was the longest ago. So a lane that has few items waits for the batches that
// are under way, and not for those of the lanes that always have more.
//
// The package knows nothing of what is committed. It is safe for one reason: an item is
// handed back only after the commit function returned. If that function cannot find out
// the outcome of its batch, it returns an error that says so.
package groupcommit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// Errors of Do, beside those of the commit function.
var (
	// ErrQueueFull means that the item was not taken: too many callers wait already.
	ErrQueueFull = errors.New("too many callers are waiting for a commit")
	// ErrNotStarted means that the caller gave up, or the group was closed, before the
	// item was taken into a batch. It has had no effect and will have none.
	ErrNotStarted = errors.New("the item was dropped before it was committed")
	// ErrStarted means that the caller gave up while its item was being committed. It
	// may have its effect.
	ErrStarted = errors.New("the item was being committed when its caller left")
)

// ErrIndivisible marks an error of the commit function that no single item can be at
// fault for, such as a database that is away. Such a batch is not split.
var ErrIndivisible = errors.New("the batch failed as a whole")

// PanicError is what a batch fails with when its commit function panicked.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("committing panicked: %v", e.Value) }

// Config of a Group. All fields but Lane and Observer are required.
type Config[T any] struct {
	// Commit commits a batch of items, whose keys differ, and notes in each of them
	// what came of it. An error means that none of them has an effect, or that the
	// outcome stays unknown. A batch with an error that is not ErrIndivisible is
	// committed again in two halves, until the item at fault is alone: it costs its
	// neighbours log n commits. The context ends at Timeout and not before.
	Commit func(ctx context.Context, batch []T) error

	Workers      int           // batches in flight at once; each occupies a connection
	BatchSizeMax int           // items in one batch
	QueueSizeMax int           // callers that may wait at once
	Timeout      time.Duration // of one call of Commit

	// Lane is the lane of an item. nil: all items are in one lane.
	Lane func(T) int64

	Observer Observer
}

// Observer is told what a Group does. The workers call its functions after they have
// handed out results, so these should be quick. A nil function is not called.
type Observer struct {
	// Waited: an item was taken into a batch this long after it was queued.
	Waited func(time.Duration)
	// Committed: a call of Commit ended.
	Committed func(size int, took time.Duration, err error)
}

// Group is a running group commit of items T, which are usually pointers, under keys K.
type Group[K, T comparable] struct {
	config Config[T]
	done   sync.WaitGroup // the workers

	mu      sync.Mutex            // guards everything below
	work    sync.Cond             // a slot was queued, or the group was closed
	lanes   map[int64]*lane[K, T] // by id; lanesMax limits those without slots
	turns   []*lane[K, T]         // lanes with queued slots, ascending by lastTurn
	turn    uint64                // the number of turns so far
	forgot  uint64                // the turn at which lanes were forgotten last
	slots   map[K]*slot[K, T]     // the queued ones: a slot leaves when it is taken into a batch
	waiting int                   // callers in queued slots
	closed  bool
}

// lane is a part of the queue whose slots may share a batch.
type lane[K, T comparable] struct {
	queue    []*slot[K, T]
	lastTurn uint64 // of a new lane: forgot, because it may have had one before
}

// lanesMax bounds the memory for lanes without slots. When there are that many lanes, those
// without slots are forgotten. A forgotten lane counts as one that had its turn just then.
const lanesMax = 10_000

// slot is one key's place in the queue, or in a batch. Once it is taken it belongs to
// the worker that took it, until ready is closed. Its callers then read the item.
type slot[K, T comparable] struct {
	key     K
	lane    *lane[K, T]
	queued  time.Time
	waiters []T  // the callers' items, in order of arrival; the first is committed
	taken   bool // by a worker; guarded by the group's lock
	ready   chan struct{}
	item    T
	err     error
}

// New starts the workers. Close ends them.
func New[K, T comparable](config Config[T]) *Group[K, T] {
	if config.Lane == nil {
		config.Lane = func(T) int64 { return 0 }
	}
	g := &Group[K, T]{
		config: config, lanes: map[int64]*lane[K, T]{}, slots: map[K]*slot[K, T]{},
	}
	g.work.L = &g.mu
	for range config.Workers {
		g.done.Go(g.run)
	}
	return g
}

// Do waits until a commit that began after the call has decided about the key. It
// returns the item that was committed: the caller's own, or that of another caller who
// waits under the same key.
//
// When ctx ends the caller leaves: with ErrNotStarted if its item can have no effect
// any more, with ErrStarted if it may. A caller never cancels a commit that has begun.
func (g *Group[K, T]) Do(ctx context.Context, key K, item T) (committed T, err error) {
	s, err := g.enqueue(key, item)
	if err != nil {
		return committed, err
	}
	select {
	case <-s.ready:
		return s.item, s.err
	case <-ctx.Done():
	}
	select {
	case <-s.ready: // at the same moment
		return s.item, s.err
	default:
		return committed, g.leave(s, item)
	}
}

func (g *Group[K, T]) enqueue(key K, item T) (*slot[K, T], error) {
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
		s.waiters = append(s.waiters, item)
		return s, nil
	}
	s := &slot[K, T]{
		key: key, lane: g.lane(g.config.Lane(item)), queued: time.Now(), waiters: []T{item},
		ready: make(chan struct{}),
	}
	g.slots[key] = s
	if len(s.lane.queue) == 0 {
		g.queueLane(s.lane)
	}
	s.lane.queue = append(s.lane.queue, s)
	g.work.Signal()
	return s, nil
}

// lane is the lane with the id. The caller holds the lock.
func (g *Group[K, T]) lane(id int64) *lane[K, T] {
	l := g.lanes[id]
	if l == nil {
		if len(g.lanes) >= lanesMax {
			maps.DeleteFunc(g.lanes, func(_ int64, idle *lane[K, T]) bool {
				return len(idle.queue) == 0
			})
			g.forgot = g.turn
		}
		l = &lane[K, T]{lastTurn: g.forgot}
		g.lanes[id] = l
	}
	return l
}

// queueLane puts the lane into the order of turns, behind the lanes whose last turn is as
// old as its own or older. The caller holds the lock.
func (g *Group[K, T]) queueLane(l *lane[K, T]) {
	at, _ := slices.BinarySearchFunc(g.turns, l.lastTurn+1,
		func(other *lane[K, T], turn uint64) int { return cmp.Compare(other.lastTurn, turn) })
	g.turns = slices.Insert(g.turns, at, l)
}

// leave takes a caller out of a queued slot. An empty slot leaves the queue, where it
// would take the place of another. It is too late for a slot that has been taken.
func (g *Group[K, T]) leave(s *slot[K, T], item T) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.taken {
		return ErrStarted
	}
	s.waiters = slices.DeleteFunc(s.waiters, func(other T) bool { return other == item })
	g.waiting--
	if len(s.waiters) == 0 {
		delete(g.slots, s.key)
		s.lane.queue = slices.DeleteFunc(s.lane.queue,
			func(other *slot[K, T]) bool { return other == s })
		if len(s.lane.queue) == 0 {
			g.turns = slices.DeleteFunc(g.turns,
				func(other *lane[K, T]) bool { return other == s.lane })
		}
	}
	return ErrNotStarted
}

// run is one worker: it takes what waits and commits it, until the group is closed.
func (g *Group[K, T]) run() {
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

func (g *Group[K, T]) observeWaits(batch []*slot[K, T], taken time.Time) {
	if g.config.Observer.Waited == nil {
		return
	}
	for _, s := range batch {
		g.config.Observer.Waited(taken.Sub(s.queued))
	}
}

// take waits for work and removes a batch from the queue. It returns nil once the group
// is closed and the queue is empty.
func (g *Group[K, T]) take() []*slot[K, T] {
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

// takeQueued removes up to a batch of slots from the lane whose turn it is. What is left
// of that lane waits for its next turn. The caller holds the lock.
func (g *Group[K, T]) takeQueued() []*slot[K, T] {
	if len(g.turns) == 0 {
		return nil
	}
	next := g.turns[0]
	g.turns = slices.Delete(g.turns, 0, 1)
	g.turn++
	next.lastTurn = g.turn
	n := min(len(next.queue), g.config.BatchSizeMax)
	batch := make([]*slot[K, T], 0, n)
	for _, s := range next.queue[:n] {
		delete(g.slots, s.key)
		s.taken = true
		g.waiting -= len(s.waiters)
		s.item = s.waiters[0]
		batch = append(batch, s)
	}
	next.queue = slices.Delete(next.queue, 0, n)
	if len(next.queue) > 0 {
		g.queueLane(next)
	}
	return batch
}

// commit commits the slots and wakes their callers. If an error may be the fault of one
// item, it commits the batch again in two halves.
func (g *Group[K, T]) commit(batch []*slot[K, T]) {
	began := time.Now()
	err := g.commitOnce(batch)
	took := time.Since(began)
	if observe := g.config.Observer.Committed; observe != nil {
		defer func() { observe(len(batch), took, err) }() // when the callers have been woken
	}
	if err != nil && len(batch) > 1 && !errors.Is(err, ErrIndivisible) {
		g.commit(batch[:len(batch)/2])
		g.commit(batch[len(batch)/2:])
		return
	}
	for _, s := range batch {
		s.err = err
		close(s.ready)
	}
}

func (g *Group[K, T]) commitOnce(batch []*slot[K, T]) (err error) {
	items := make([]T, len(batch))
	for i, s := range batch {
		items[i] = s.item
	}
	// The batch belongs to all of its callers, so no caller's context governs it.
	ctx, cancel := context.WithTimeout(context.Background(), g.config.Timeout)
	defer cancel()
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{Value: value, Stack: debug.Stack()}
		}
	}()
	return g.config.Commit(ctx, items)
}

// Waiting is how many callers are in the queue, not counting those in a batch.
func (g *Group[K, T]) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiting
}

// Close takes no more items, commits those that wait, and returns when the workers have
// ended.
func (g *Group[K, T]) Close() {
	g.mu.Lock()
	g.closed = true
	g.work.Broadcast()
	g.mu.Unlock()
	g.done.Wait()
}
