package simulator_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v84"
	"github.com/stripe/stripe-go/v84/webhook"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// receiver takes events as the SDK does: it checks their signature and their version.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	refuse int // so many events first
	events []stripe.Event
}

func receive(t *testing.T, refuse int) *receiver {
	t.Helper()
	r := &receiver{refuse: refuse}
	r.Server = httptest.NewServer(http.HandlerFunc(
		func(w http.ResponseWriter, request *http.Request) {
			body, err := io.ReadAll(request.Body)
			if err != nil {
				t.Error(err)
			}
			e, err := webhook.ConstructEvent(body, request.Header.Get("Stripe-Signature"),
				simulator.DefaultWebhookSecret)
			if err != nil {
				t.Error(err)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.refuse--; r.refuse >= 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			r.events = append(r.events, e)
		}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) types() (types []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		types = append(types, string(e.Type))
	}
	return types
}

func (r *receiver) ids() (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		ids = append(ids, e.ID)
	}
	return ids
}

// has waits for events of these types, in any order, and no others.
func (r *receiver) has(t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(want)
	await.Until(t, 10*time.Second, strings.Join(want, " "), func() bool {
		return slices.Equal(slices.Sorted(slices.Values(r.types())), want)
	})
}

// Each operation tells of itself. The receiver refuses some events at first.
func TestOperationsSendEvents(t *testing.T) {
	t.Parallel()
	const (
		intent = "payment_intent."
		failed = intent + "payment_failed"
		paid   = intent + "succeeded"
	)
	for name, row := range map[string]struct {
		card string
		then func(t *testing.T, s *simulator.Server, path string)
		want []string
	}{
		"charge":    {"pm_card_visa", nil, []string{paid}},
		"decline":   {"pm_card_chargeDeclined", nil, []string{failed}},
		"3D Secure": {"pm_card_authenticationRequired", nil, []string{intent + "requires_action"}},
		"dispute":   {"pm_card_createDispute", nil, []string{paid, "charge.dispute.created"}},
		"slow":      {"pm_sim_processing", nil, []string{intent + "processing", paid}},
		"capture": {"pm_card_visa hold", func(t *testing.T, s *simulator.Server, path string) {
			post(t, s.URL(), path+"/capture", "", "")
		}, []string{intent + "amount_capturable_updated", paid}},
		"cancel": {"pm_card_visa hold", func(t *testing.T, s *simulator.Server, path string) {
			post(t, s.URL(), path+"/cancel", "", "")
		}, []string{
			intent + "amount_capturable_updated", "charge.refunded", intent + "canceled",
		}},
		"refund":         {"pm_card_visa", refundAll, refundEvents()},
		"pending refund": {"pm_card_pendingRefund", refundAll, refundEvents("refund.updated")},
		"failing refund": {"pm_card_refundFail", refundAll, refundEvents("refund.failed")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := receive(t, 2)
			s := start(t, simulator.Options{WebhookURL: r.URL})
			card, hold := strings.CutSuffix(row.card, " hold")
			method := "automatic"
			if hold {
				method = "manual"
			}
			path := create(t, s, card, "capture_method", method)
			post(t, s.URL(), path+"/confirm", "", "")
			if row.then != nil {
				row.then(t, s, path)
			}
			r.has(t, row.want...)
			await.Until(t, 10*time.Second, "an empty outbox", func() bool {
				return books(t, s).EventsWaiting == 0
			})
		})
	}
}

func refundAll(t *testing.T, s *simulator.Server, path string) {
	t.Helper()
	id := strings.TrimPrefix(path, intents+"/")
	if r := post(t, s.URL(), "/v1/refunds", "", "payment_intent="+id); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func refundEvents(more ...string) []string {
	return append(more, "payment_intent.succeeded", "refund.created", "charge.refunded")
}

// A refund that fails gives its amount free again.
func TestFailedRefundDoesNotCount(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{})
	path := intents + "/" + charge(t, s, "pm_card_refundFail")
	refundAll(t, s, path)
	await.Until(t, 10*time.Second, "the refund's failure", func() bool {
		return find(t, s, path).Refunds[0].Status == "failed"
	})
	refundAll(t, s, path)
	if r := get(t, s.URL(), path+"?expand[]=latest_charge"); !strings.Contains(r.body,
		`"amount_refunded":1000`) {
		t.Errorf("%s", r.body)
	}
}

func TestDuplicatedEventIsTheSame(t *testing.T) {
	t.Parallel()
	r := receive(t, 0)
	s := start(t, simulator.Options{WebhookURL: r.URL})
	setFaults(t, s, simulator.Faults{Events: simulator.EventFaults{Duplicate: 1}})
	charge(t, s, "pm_card_visa")
	r.has(t, "payment_intent.succeeded", "payment_intent.succeeded")
	if ids := r.ids(); ids[0] != ids[1] {
		t.Errorf("two events: %v", ids)
	}
}

func TestEarlyEventComesBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	r := receive(t, 0)
	s := start(t, simulator.Options{WebhookURL: r.URL})
	setFaults(t, s, simulator.Faults{Events: simulator.EventFaults{Early: 1}})
	for i := range 10 {
		charge(t, s, "pm_card_visa")
		if got := len(r.types()); got != i+1 {
			t.Fatalf("%d events after %d answers", got, i+1)
		}
	}
}

func TestLostEventIsNeverSent(t *testing.T) {
	t.Parallel()
	r := receive(t, 0)
	s := start(t, simulator.Options{WebhookURL: r.URL})
	setFaults(t, s, simulator.Faults{Events: simulator.EventFaults{Lose: 1}})
	charge(t, s, "pm_card_visa")
	await.Until(t, 10*time.Second, "an empty outbox", func() bool {
		return books(t, s).EventsWaiting == 0
	})
	setFaults(t, s, simulator.Faults{})
	post(t, s.URL(), create(t, s, "pm_card_visa")+"/cancel", "", "")
	r.has(t, "payment_intent.canceled")
}

func TestShuffledEventsOvertake(t *testing.T) {
	t.Parallel()
	r := receive(t, 0)
	s := start(t, simulator.Options{WebhookURL: r.URL})
	setFaults(t, s, simulator.Faults{Events: simulator.EventFaults{Shuffle: true, DelayMS: 300}})
	for range 10 {
		charge(t, s, "pm_card_visa")
	}
	await.Until(t, 10*time.Second, "ten events", func() bool { return len(r.ids()) == 10 })
	if ids := r.ids(); slices.IsSorted(ids) {
		t.Errorf("they came in order: %v", ids)
	}
}

// Events wait while nobody says where to send them, and while the processor is down.
func TestEventsWait(t *testing.T) {
	t.Parallel()
	r := receive(t, 0)
	s := start(t, simulator.Options{})
	charge(t, s, "pm_card_visa")
	setFaults(t, s, simulator.Faults{Down: true})
	if answer := page(t, s.URL(), "/webhook", `{"url": "`+r.URL+`"}`); answer.status != 200 {
		t.Errorf("%d %s", answer.status, answer.body)
	}
	if books(t, s).EventsWaiting != 1 || len(r.types()) != 0 {
		t.Errorf("it sends while it is down: %v", r.types())
	}
	setFaults(t, s, simulator.Faults{})
	r.has(t, "payment_intent.succeeded")
}
