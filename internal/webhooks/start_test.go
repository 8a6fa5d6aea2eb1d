package webhooks

import (
	"testing"
	"time"

	"github.com/google/uuid"
)

// Many receivers that hang leave sends to those that answer.
func TestFailingReceiversLeaveSendsToOthers(t *testing.T) {
	t.Parallel()
	d := newDispatcher(&Service{
		client: newClient(time.Second, true), schedule: DefaultSchedule,
	})
	d.cancel() // no request leaves
	add := func(failing bool) *lane {
		key := endpointKey{merchantID: 1, uid: uuid.New()}
		l := &lane{failing: failing}
		for range sendsPerEndpoint {
			l.queue = append(l.queue, delivery{endpointKey: key, leasedAt: time.Now()})
		}
		d.lanes[key] = l
		return l
	}
	for range 10 * sendsMax {
		add(true)
	}
	healthy := add(false)
	d.start()
	if d.sending != failingSendsMax+sendsPerEndpoint || healthy.sending != sendsPerEndpoint {
		t.Errorf("%d sends, %d of them to the receiver that answers", d.sending,
			healthy.sending)
	}
}
