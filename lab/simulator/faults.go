package simulator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Step names the requests that faults are set for.
type Step string

// The steps. Reads of intents, refunds and disputes are StepRetrieve or StepList.
const (
	StepCreate   Step = "create"
	StepConfirm  Step = "confirm"
	StepCapture  Step = "capture"
	StepCancel   Step = "cancel"
	StepRefund   Step = "refund"
	StepRetrieve Step = "retrieve"
	StepList     Step = "list"
)

var steps = []Step{
	StepCreate, StepConfirm, StepCapture, StepCancel, StepRefund, StepRetrieve, StepList,
}

// Faults are what goes wrong at run time. Probabilities are from 0 to 1.
type Faults struct {
	// Seed makes a run repeatable: the same seed draws the same faults.
	Seed uint64 `json:"seed"`

	// Down makes every request of the API get a 503. No event is sent.
	Down bool `json:"down"`

	HangMS int64               `json:"hang_ms"` // 0: that of the options
	Steps  map[Step]StepFaults `json:"steps"`
	Events EventFaults         `json:"events"`
}

// StepFaults are the faults of one kind of request.
type StepFaults struct {
	Before    Before `json:"before"`
	After     After  `json:"after"`
	LatencyMS int64  `json:"latency_ms"`
}

// Before are the probabilities of faults before anything has been executed.
type Before struct {
	Error500 float64 `json:"500"`
	Reset    float64 `json:"reset"`
	Hang     float64 `json:"hang"` // then the request is executed
	Error429 float64 `json:"429"`
}

// After are the probabilities of faults when the request has been executed.
type After struct {
	Error500 float64 `json:"500"` // it is the answer that is stored under the key
	Reset    float64 `json:"reset"`
	Hang     float64 `json:"hang"` // the answer is held until the client has gone
}

// EventFaults are the faults of the events.
type EventFaults struct {
	Duplicate float64 `json:"duplicate"` // it is sent twice
	DelayMS   int64   `json:"delay_ms"`  // at most; the delay is drawn
	Early     float64 `json:"early"`     // it is sent before the answer of its request
	Shuffle   bool    `json:"shuffle"`   // events are sent in a drawn order
	Lose      float64 `json:"lose"`      // it is never sent
}

// check refuses what cannot be meant.
func (f Faults) check() error {
	chances := []float64{f.Events.Duplicate, f.Events.Early, f.Events.Lose}
	durations := []int64{f.HangMS, f.Events.DelayMS}
	for step, s := range f.Steps {
		if !slices.Contains(steps, step) {
			return fmt.Errorf("there is no step %q", step)
		}
		b, a := s.Before, s.After
		chances = append(chances, b.Error500, b.Reset, b.Hang, b.Error429,
			b.Error500+b.Reset+b.Hang+b.Error429, a.Error500, a.Reset, a.Hang,
			a.Error500+a.Reset+a.Hang)
		durations = append(durations, s.LatencyMS)
	}
	for _, chance := range chances {
		if chance < 0 || chance > 1 {
			return fmt.Errorf("the probability %v, or the sum of those that exclude each other, "+
				"is not from 0 to 1", chance)
		}
	}
	if slices.Min(durations) < 0 {
		return fmt.Errorf("a negative duration")
	}
	return nil
}

// dice draws the faults.
type dice struct {
	mu     sync.Mutex
	faults Faults
	random *rand.Rand
}

func (d *dice) set(f Faults) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults, d.random = f, rand.New(rand.NewPCG(f.Seed, 0))
}

func (d *dice) get() Faults {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.faults
}

// plan is what happens to one request.
type plan struct {
	down    bool
	latency time.Duration
	hang    time.Duration // 0: that of the options
	before  fault
	after   fault
}

// plan draws the faults of a request. It draws twice whatever the faults are, so that the
// same seed and order of requests give the same plans.
func (d *dice) plan(step Step) plan {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.faults.Steps[step]
	return plan{
		down:    d.faults.Down,
		latency: milliseconds(s.LatencyMS),
		hang:    milliseconds(d.faults.HangMS),
		before: pick(d.random.Float64(), []chance{
			{s.Before.Error500, fault500Before},
			{s.Before.Reset, faultResetBefore},
			{s.Before.Hang, faultHang},
			{s.Before.Error429, fault429},
		}),
		after: pick(d.random.Float64(), []chance{
			{s.After.Error500, fault500After},
			{s.After.Reset, faultResetAfter},
			{s.After.Hang, faultHold},
		}),
	}
}

type chance struct {
	probability float64
	fault       fault
}

func pick(drawn float64, chances []chance) fault {
	for _, c := range chances {
		if drawn < c.probability {
			return c.fault
		}
		drawn -= c.probability
	}
	return faultNone
}

// delivery is what happens to one event.
type delivery struct {
	lost, twice, early bool
	delay              time.Duration
}

// shuffleDelay is long enough to let later events overtake.
const shuffleDelay = 200 * time.Millisecond

func (d *dice) delivery() delivery {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.faults.Events
	longest := milliseconds(e.DelayMS)
	if e.Shuffle {
		longest = max(longest, shuffleDelay)
	}
	return delivery{
		lost:  d.random.Float64() < e.Lose,
		twice: d.random.Float64() < e.Duplicate,
		early: d.random.Float64() < e.Early,
		delay: time.Duration(d.random.Float64() * float64(longest)),
	}
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
