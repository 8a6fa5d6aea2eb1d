package webhooks

import (
	"context"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
)

const (
	sendsMax         = 128  // under way in this instance
	sendsPerEndpoint = 4    // of these, to one endpoint
	failingSendsMax  = 64   // of these, to endpoints that fail; the others get the rest
	leasedMax        = 2048 // of all; a few for each receiver that hangs

	// The limit of leased deliveries for one endpoint. It starts at leasedAtFirst and
	// doubles each time that the queue empties within quickTime.
	leasedAtFirst     = 16
	leasedPerEndpoint = 256

	// gatherTime is how long results wait for others. One transaction marks all of
	// them.
	gatherTime = 25 * time.Millisecond

	quickTime = time.Second

	// failureMemory is how long an idle endpoint is known to fail. Endpoints come and
	// go.
	failureMemory = 10 * time.Minute

	// drainTimeout is how long sends may go on when the instance ends.
	drainTimeout = 2 * time.Second
	// markTimeout is for a transaction that marks, also when the instance ends.
	markTimeout = 5 * time.Second
)

// Deliver sends due deliveries until ctx ends. Every instance does so. When it returns,
// nothing is under way, and what was not sent is free for other instances.
func (s *Service) Deliver(ctx context.Context) {
	d := newDispatcher(s)
	defer d.drain()
	for {
		began, woken := time.Now(), s.due.Changed()
		d.fill(ctx)
		d.rest = outbox.Rest(d.marking+time.Since(began), d.busy())
		d.marking = 0
		select {
		case r := <-d.results:
			d.take(r)
		case <-woken:
		case <-time.After(s.schedule.Poll):
		case <-ctx.Done():
			return
		}
	}
}

// dispatcher is the state of Deliver. One goroutine owns it; sends run beside it.
type dispatcher struct {
	*Service
	lanes   map[endpointKey]*lane
	sending int
	results chan result
	unsent  []result      // leased deliveries to be given back
	marking time.Duration // the last results took so long to mark
	rest    time.Duration // before the next results are marked, for the sake of charges

	sends  context.Context // of all sends
	cancel context.CancelFunc
}

// lane is what this instance has under way for an endpoint.
type lane struct {
	queue   []delivery
	sending int
	size    int       // how many deliveries it may have; see leasedAtFirst
	leased  time.Time // when it last got some
	failing bool      // its last try failed
	settled time.Time // when its last try ended
}

func (l *lane) idle() bool { return l.sending == 0 && len(l.queue) == 0 }

// forgotten tells whether the lane has nothing more to say.
func (l *lane) forgotten() bool {
	memory := quickTime
	if l.failing {
		memory = failureMemory
	}
	return l.idle() && time.Since(l.settled) > memory
}

// sendsAllowed is how many sends may be under way. A failing receiver gets one send at a
// time.
func (l *lane) sendsAllowed() int {
	if l.failing {
		return 1
	}
	return sendsPerEndpoint
}

// free is how many more deliveries it may lease. They are leased when few are left, so
// that one statement leases many.
func (l *lane) free() int {
	held := len(l.queue) + l.sending
	switch quick := time.Since(l.leased) < quickTime; {
	case l.failing:
		l.size = leasedAtFirst
		return max(1-held, 0)
	case len(l.queue) > 0 && held > l.size/4:
		return 0
	case !quick:
		l.size = leasedAtFirst
	case len(l.queue) == 0:
		l.size = min(2*l.size, leasedPerEndpoint)
	}
	return max(l.size-held, 0)
}

func newDispatcher(s *Service) *dispatcher {
	d := &dispatcher{
		Service: s, lanes: map[endpointKey]*lane{}, results: make(chan result, sendsMax),
	}
	d.sends, d.cancel = context.WithCancel(context.Background())
	return d
}

// fill leases what there is room for, and starts sends.
func (d *dispatcher) fill(ctx context.Context) {
	held := 0
	var rooms []room
	for key, lane := range d.lanes {
		if lane.forgotten() {
			delete(d.lanes, key)
			continue
		}
		held += len(lane.queue) + lane.sending
		rooms = append(rooms, room{key, int64(lane.free())})
	}
	limit := leasedMax - held
	if limit <= 0 {
		return
	}
	leased, err := d.lease(ctx, rooms, limit)
	if err != nil && ctx.Err() == nil {
		d.logger.Warn("leasing webhook deliveries failed and will be tried again", "error", err)
	}
	for _, one := range leased {
		if one.eventDeleted {
			d.giveBack(one)
			continue
		}
		to := d.lanes[one.endpointKey]
		if to == nil {
			to = &lane{size: leasedAtFirst}
			d.lanes[one.endpointKey] = to
		}
		to.leased = one.leasedAt
		to.queue = append(to.queue, one)
	}
	d.start()
	d.write(nil)
}

// giveBack ends the leases of deliveries that are not sent, when the next results are
// marked.
func (d *dispatcher) giveBack(deliveries ...delivery) {
	for _, one := range deliveries {
		d.unsent = append(d.unsent, result{delivery: one, unsent: true})
	}
}

// start starts sends for which there is room.
func (d *dispatcher) start() {
	failing := 0
	for _, lane := range d.lanes {
		if lane.failing {
			failing += lane.sending
		}
	}
	for _, lane := range d.lanes {
		for len(lane.queue) > 0 && lane.sending < lane.sendsAllowed() && d.sending < sendsMax {
			if lane.failing && failing >= failingSendsMax {
				break
			}
			next := lane.queue[0]
			lane.queue = lane.queue[1:]
			// A send that could outlive its lease is left to the next lease.
			if time.Since(next.leasedAt) > d.schedule.Lease-d.schedule.Timeout {
				d.giveBack(next)
				continue
			}
			if lane.failing {
				failing++
			}
			lane.sending++
			d.sending++
			go d.send(next)
		}
	}
}

func (d *dispatcher) send(one delivery) {
	now := one.now.Add(time.Since(one.leasedAt))
	a := post(d.sends, d.client, &one.message, now)
	d.results <- result{
		delivery: one, answer: a, unsent: a.statusCode == 0 && d.sends.Err() != nil,
	}
}

// take handles a result and those that come soon after it, and then marks all of them.
func (d *dispatcher) take(first result) {
	results := []result{first}
	gathered := time.After(max(gatherTime, d.rest))
	for {
		d.settle(&results[len(results)-1])
		if d.sends.Err() == nil {
			d.start()
		}
		if d.sending == 0 && d.rest < gatherTime {
			break
		}
		select {
		case r := <-d.results:
			results = append(results, r)
			continue
		case <-gathered:
		}
		break
	}
	began := time.Now()
	d.write(results)
	d.marking = time.Since(began)
}

func (d *dispatcher) settle(r *result) {
	d.sending--
	lane := d.lanes[r.endpointKey]
	lane.sending--
	lane.failing, lane.settled = !r.ok(), time.Now()
	if lane.failing { // others may have room for what is sent one at a time from now on
		d.giveBack(lane.queue...)
		lane.queue = nil
	}
}

// write marks the results, and gives back what was not sent. If that fails, those that
// are not marked are sent again when their leases end.
func (d *dispatcher) write(results []result) {
	results = append(results, d.unsent...)
	d.unsent = nil
	if len(results) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), markTimeout)
	defer cancel()
	if err := d.mark(ctx, results); err != nil {
		d.logger.Warn("webhooks were sent, but not all are marked: the others will be sent again",
			"number", len(results), "error", err)
	}
}

// drain waits a little for sends under way, ends them, and frees what was not sent.
func (d *dispatcher) drain() {
	defer d.cancel()
	for _, lane := range d.lanes {
		d.giveBack(lane.queue...)
		lane.queue = nil
	}
	d.write(nil)
	patience := time.AfterFunc(drainTimeout, d.cancel)
	defer patience.Stop()
	for d.sending > 0 {
		d.take(<-d.results)
	}
}
