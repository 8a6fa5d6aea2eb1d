package groupcommit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/paymentsvc/paymentsvc/internal/groupcommit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errPoison = errors.New("poison")

// item is what these tests commit, and what the commit made of it.
type item struct{ value, result int }

// disk is a commit function: each commit waits until the test allows it.
type disk struct {
	allow   chan struct{}
	mu      sync.Mutex
	batches [][]int
}

func (d *disk) commit(ctx context.Context, batch []*item) error {
	values := make([]int, len(batch))
	for i, it := range batch {
		values[i] = it.value
	}
	d.mu.Lock()
	d.batches = append(d.batches, values)
	d.mu.Unlock()
	select {
	case <-d.allow:
	case <-ctx.Done():
		return ctx.Err()
	}
	switch {
	case slices.Contains(values, -1):
		return errPoison
	case slices.Contains(values, -2):
		panic("a bug")
	case slices.Contains(values, -3):
		return fmt.Errorf("%w: %w", groupcommit.ErrIndivisible, errPoison)
	}
	for _, it := range batch {
		it.result = it.value * 10
	}
	return nil
}

// release allows n commits.
func (d *disk) release(n int) {
	for range n {
		d.allow <- struct{}{}
	}
}

func (d *disk) committed() [][]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.batches)
}

type itemGroup = groupcommit.Group[string, *item]

// withGroup runs a test with a group of one worker and a clock of its own.
func withGroup(
	t *testing.T, adjust func(*groupcommit.Config[*item]),
	test func(*testing.T, *disk, *itemGroup),
) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{allow: make(chan struct{}, 1000)}
		config := groupcommit.Config[*item]{
			Commit: d.commit, Workers: 1, BatchSizeMax: 100, QueueSizeMax: 100,
			Timeout: time.Hour,
		}
		if adjust != nil {
			adjust(&config)
		}
		g := groupcommit.New[string](config)
		t.Cleanup(func() {
			close(d.allow)
			g.Close()
		})
		test(t, d, g)
	})
}

// call is one Do in the background.
type call struct {
	result    int
	committed bool
	err       error
	done      chan struct{}
}

func do(ctx context.Context, group *itemGroup, key string, value int) *call {
	c := &call{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		own := &item{value: value}
		decided, err := group.Do(ctx, key, own)
		c.committed, c.err = decided == own, err
		if decided != nil {
			c.result = decided.result
		}
	}()
	synctest.Wait()
	return c
}

func (c *call) want(t *testing.T, result int, committed bool, err error) {
	t.Helper()
	<-c.done
	if c.result != result || c.committed != committed || !errors.Is(c.err, err) {
		t.Errorf("Do = %d, %t, %v; want %d, %t, %v", c.result, c.committed, c.err, result,
			committed, err)
	}
}

func wantBatches(t *testing.T, d *disk, want ...[]int) {
	t.Helper()
	if got := d.committed(); !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("batches %v, want %v", got, want)
	}
}

func TestNoCallReturnsBeforeItsCommit(t *testing.T) {
	withGroup(t, nil, func(t *testing.T, d *disk, group *itemGroup) {
		busy := do(t.Context(), group, "busy", 0)
		batch := []*call{
			do(t.Context(), group, "a", 1), do(t.Context(), group, "b", 2),
			do(t.Context(), group, "c", 3), do(t.Context(), group, "c", 4),
		}
		wantNoneReturned(t, append(batch, busy))
		d.release(1)
		busy.want(t, 0, true, nil)
		synctest.Wait() // the batch of a, b and c is being committed
		wantBatches(t, d, []int{0}, []int{1, 2, 3})
		wantNoneReturned(t, batch)
		d.release(1)
		for i, result := range []int{10, 20, 30, 30} {
			batch[i].want(t, result, i < 3, nil)
		}
	})
}

func wantNoneReturned(t *testing.T, calls []*call) {
	t.Helper()
	for i, c := range calls {
		select {
		case <-c.done:
			t.Errorf("call %d returned %d, %v before its commit ended", i, c.result, c.err)
		default:
		}
	}
}

func TestCallersOfOneKeyShareOneItem(t *testing.T) {
	withGroup(t, nil, func(t *testing.T, d *disk, group *itemGroup) {
		first := do(t.Context(), group, "busy", 0)
		leader := do(t.Context(), group, "k", 1)
		followers := []*call{do(t.Context(), group, "k", 2), do(t.Context(), group, "k", 3)}
		d.release(2)
		first.want(t, 0, true, nil)
		leader.want(t, 10, true, nil)
		for _, follower := range followers {
			follower.want(t, 10, false, nil)
		}
		wantBatches(t, d, []int{0}, []int{1})
	})
}

// A canceled call takes no place in a batch. Otherwise a worker that took only canceled
// calls would sleep while another call waits. The next call with its key takes its place.
func TestCanceledCallTakesNoPlaceInABatch(t *testing.T) {
	limit := func(c *groupcommit.Config[*item]) { c.BatchSizeMax = 1 }
	withGroup(t, limit, func(t *testing.T, d *disk, group *itemGroup) {
		busy := do(t.Context(), group, "busy", 0)
		ctx, leave := context.WithCancel(t.Context())
		left := []*call{do(ctx, group, "left", 1), do(ctx, group, "k", 2)}
		stays := do(t.Context(), group, "k", 3)
		leave()
		for _, c := range left {
			c.want(t, 0, false, groupcommit.ErrNotStarted)
		}
		if waiting := group.Waiting(); waiting != 1 {
			t.Errorf("%d callers wait, want 1", waiting)
		}
		d.release(2)
		busy.want(t, 0, true, nil)
		stays.want(t, 30, true, nil)
		wantBatches(t, d, []int{0}, []int{3})
	})
}

func TestCallCanceledDuringItsCommitDoesNotStopIt(t *testing.T) {
	withGroup(t, nil, func(t *testing.T, d *disk, group *itemGroup) {
		ctx, leave := context.WithCancel(t.Context())
		left := do(ctx, group, "k", 1)
		leave()
		left.want(t, 0, false, groupcommit.ErrStarted)
		again := do(t.Context(), group, "k", 2)
		d.release(2)
		again.want(t, 20, true, nil)
		wantBatches(t, d, []int{1}, []int{2})
	})
}

func TestAFullQueueRefusesAtOnce(t *testing.T) {
	limit := func(c *groupcommit.Config[*item]) { c.QueueSizeMax = 2 }
	withGroup(t, limit, func(t *testing.T, d *disk, group *itemGroup) {
		calls := []*call{
			do(t.Context(), group, "in flight", 1), do(t.Context(), group, "waits", 2),
			do(t.Context(), group, "waits", 3),
		}
		do(t.Context(), group, "one too many", 4).want(t, 0, false, groupcommit.ErrQueueFull)
		d.release(2)
		for _, c := range calls {
			<-c.done
		}
	})
}

func TestABatchIsNoLargerThanItsLimit(t *testing.T) {
	limit := func(c *groupcommit.Config[*item]) { c.BatchSizeMax = 2 }
	withGroup(t, limit, func(t *testing.T, d *disk, group *itemGroup) {
		calls := []*call{
			do(t.Context(), group, "a", 1), do(t.Context(), group, "b", 2),
			do(t.Context(), group, "c", 3), do(t.Context(), group, "d", 4),
		}
		d.release(len(calls))
		for _, c := range calls {
			<-c.done
		}
		wantBatches(t, d, []int{1}, []int{2, 3}, []int{4})
	})
}

// The lane of an item is its tens digit.
func byTens(c *groupcommit.Config[*item]) {
	c.BatchSizeMax = 2
	c.Lane = func(it *item) int64 { return int64(it.value / 10) }
}

func TestABatchHasOneLaneAndTheLanesTakeTurns(t *testing.T) {
	withGroup(t, byTens, func(t *testing.T, d *disk, group *itemGroup) {
		calls := []*call{do(t.Context(), group, "busy", 90)}
		for _, value := range []int{10, 11, 12, 13, 14, 20, 30, 15, 31} {
			calls = append(calls, do(t.Context(), group, fmt.Sprint(value), value))
		}
		d.release(len(calls))
		for _, c := range calls {
			<-c.done
		}
		wantBatches(t, d, []int{90}, []int{10, 11}, []int{20}, []int{30, 31}, []int{12, 13},
			[]int{14, 15})
	})
}

// A lane with a rare item goes before the lanes that always have some.
func TestTheLaneWithTheOldestTurnIsNext(t *testing.T) {
	withGroup(t, byTens, func(t *testing.T, d *disk, group *itemGroup) {
		var calls []*call
		for _, value := range []int{90, 10, 20, 11, 21, 30} {
			calls = append(calls, do(t.Context(), group, fmt.Sprint(value), value))
			if value == 20 { // one batch after another, so that 1 and 2 have had turns
				d.release(2)
				<-calls[0].done
				<-calls[1].done
			}
		}
		d.release(len(calls) - 2)
		for _, c := range calls {
			<-c.done
		}
		wantBatches(t, d, []int{90}, []int{10}, []int{20}, []int{30}, []int{11}, []int{21})
	})
}

// However many lanes are new, or look new because they were forgotten.
func TestNoLaneWaitsForever(t *testing.T) {
	withGroup(t, func(c *groupcommit.Config[*item]) {
		c.Lane = func(it *item) int64 { return int64(it.value) }
	}, func(t *testing.T, d *disk, group *itemGroup) {
		do(t.Context(), group, "first", 1)
		waits := do(t.Context(), group, "second", 1)
		for value := range 11_000 {
			do(t.Context(), group, fmt.Sprint(value), 10+value)
			if value > 0 { // one of them always waits
				d.release(1)
				synctest.Wait()
			}
		}
		select {
		case <-waits.done:
		default:
			t.Error("11,000 lanes have had a turn, and the one that waits longest has not")
		}
	})
}

// Without that, the memory would grow with the number of lanes that ever had an item.
func TestLanesWithoutItemsAreForgotten(t *testing.T) {
	const lanes = 10_000
	withGroup(t, byTens, func(t *testing.T, d *disk, group *itemGroup) {
		for lane := range lanes {
			d.release(1)
			<-do(t.Context(), group, "k", lane*10).done
		}
		calls := []*call{do(t.Context(), group, "one more", lanes*10)}
		for _, lane := range []int{2, 1} { // lane 2 had its turn later than lane 1
			calls = append(calls, do(t.Context(), group, fmt.Sprint(lane), lane*10))
		}
		d.release(len(calls))
		for _, c := range calls {
			<-c.done
		}
		if last := d.committed()[lanes+1:]; last[0][0] != 20 {
			t.Errorf("batches %v: their turns are not forgotten", last)
		}
	})
}

func TestALaneThatAllCallersHaveLeftTakesNoTurn(t *testing.T) {
	withGroup(t, byTens, func(t *testing.T, d *disk, group *itemGroup) {
		busy := do(t.Context(), group, "busy", 90)
		ctx, leave := context.WithCancel(t.Context())
		left := do(ctx, group, "left", 10)
		stays := do(t.Context(), group, "stays", 20)
		leave()
		<-left.done
		back := do(t.Context(), group, "back", 11)
		d.release(3)
		busy.want(t, 900, true, nil)
		stays.want(t, 200, true, nil)
		back.want(t, 110, true, nil)
		wantBatches(t, d, []int{90}, []int{20}, []int{11})
	})
}

func TestOnePoisonousItemFailsAlone(t *testing.T) {
	for _, test := range []struct {
		name   string
		poison int
		check  func(error) bool
	}{
		{"an error", -1, func(err error) bool { return errors.Is(err, errPoison) }},
		{"a panic", -2, func(err error) bool {
			var panicked *groupcommit.PanicError
			return errors.As(err, &panicked) && panicked.Value == "a bug" &&
				len(panicked.Stack) > 0
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			withGroup(t, nil, func(t *testing.T, d *disk, group *itemGroup) {
				calls := []*call{do(t.Context(), group, "busy", 0)}
				for i := range 7 {
					calls = append(calls, do(t.Context(), group, string(rune('a'+i)), i+1))
				}
				poison := do(t.Context(), group, "p", test.poison)
				d.release(20)
				for i, c := range calls {
					c.want(t, i*10, true, nil)
				}
				<-poison.done
				if !test.check(poison.err) {
					t.Errorf("the poisonous item got %v", poison.err)
				}
				// One commit for "busy", and for the eight others: 8, 4+4, 2+2, 1+1.
				if commits := len(d.committed()); commits != 1+7 {
					t.Errorf("%d commits, want 8", commits)
				}
			})
		})
	}
}

func TestIndivisibleErrorFailsTheWholeBatch(t *testing.T) {
	withGroup(t, nil, func(t *testing.T, d *disk, group *itemGroup) {
		busy := do(t.Context(), group, "busy", 0)
		a, b := do(t.Context(), group, "a", -3), do(t.Context(), group, "b", 2)
		d.release(2)
		busy.want(t, 0, true, nil)
		a.want(t, 0, true, errPoison)
		b.want(t, 0, true, errPoison)
		wantBatches(t, d, []int{0}, []int{-3, 2})
	})
}

func TestACommitHasATimeLimitOfItsOwn(t *testing.T) {
	limit := func(c *groupcommit.Config[*item]) { c.Timeout = time.Second }
	withGroup(t, limit, func(t *testing.T, d *disk, group *itemGroup) {
		start := time.Now()
		do(t.Context(), group, "a", 1).want(t, 0, true, context.DeadlineExceeded)
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("the commit ended after %v, want 1s", waited)
		}
	})
}

func TestCloseCommitsWhatWaitsAndTakesNoMore(t *testing.T) {
	withGroup(t, nil, func(t *testing.T, d *disk, group *itemGroup) {
		a, b := do(t.Context(), group, "a", 1), do(t.Context(), group, "b", 2)
		closed := make(chan struct{})
		go func() {
			group.Close()
			close(closed)
		}()
		synctest.Wait()
		do(t.Context(), group, "late", 3).want(t, 0, false, groupcommit.ErrNotStarted)
		d.release(2)
		<-closed
		a.want(t, 10, true, nil)
		b.want(t, 20, true, nil)
	})
}

func TestObserverGetsEveryWaitAndEveryCommit(t *testing.T) {
	type commit struct {
		size   int
		took   time.Duration
		failed bool
	}
	var waits []time.Duration
	var commits []commit
	observe := func(c *groupcommit.Config[*item]) {
		c.Observer.Waited = func(wait time.Duration) { waits = append(waits, wait) }
		c.Observer.Committed = func(size int, took time.Duration, err error) {
			commits = append(commits, commit{size, took, err != nil})
		}
	}
	withGroup(t, observe, func(t *testing.T, d *disk, group *itemGroup) {
		a := do(t.Context(), group, "a", 1)
		b, duplicate, poison := do(t.Context(), group, "b", 2), do(t.Context(), group, "b", 2),
			do(t.Context(), group, "c", -1)
		time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock
		d.release(4)
		a.want(t, 10, true, nil)
		b.want(t, 20, true, nil)
		duplicate.want(t, 20, false, nil)
		poison.want(t, 0, true, errPoison)
		synctest.Wait()
		if want := []time.Duration{0, time.Second, time.Second}; !slices.Equal(waits, want) {
			t.Errorf("waits %v, want %v", waits, want)
		}
		// The batch of two is split. The observer gets its halves first.
		want := []commit{{1, time.Second, false}, {1, 0, false}, {1, 0, true}, {2, 0, true}}
		if !slices.Equal(commits, want) {
			t.Errorf("commits %v, want %v", commits, want)
		}
	})
}
