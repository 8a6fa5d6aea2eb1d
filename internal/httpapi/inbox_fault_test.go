package httpapi_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/wire"
)

// onCardsThrough is onCards, where the other instance has its database behind a proxy.
// Charges begin on the first one, and events go to the other one.
func onCardsThrough(t *testing.T) (*merchant, *processor, *wire.Proxy) {
	t.Helper()
	t.Parallel()
	p, db := newProcessor(t), pgtest.New(t)
	s := settings{processor: p.settings()}
	first := newInstanceWith(t, db.URL, s)
	proxy := wire.Start(t, db.URL)
	s.requestTimeout = 2 * time.Second
	return newMerchant(t, db, first, newInstanceWith(t, proxy.URL(), s)), p, proxy
}

// heldAndPaid is a charge by card that hangs in our books, and the event that the
// processor has charged the card.
func (m *merchant) heldAndPaid(p *processor) (path, event string) {
	m.t.Helper()
	path, intentID := m.held(p, "k", cardToShop(4999, "pm_card_visa"))
	p.confirm(intentID)
	return path, newEvent("payment_intent.succeeded", p.intent(intentID))
}

// The event's id is claimed in the transaction of its effect. If it was claimed before, an
// instance that dies between the two would lose the effect: the event that comes again
// would be a duplicate.
func TestInstanceThatDiesLeavesAnEventWholeOrUntaken(t *testing.T) {
	for name, death := range map[string]struct {
		at     wire.Match
		effect wire.Effect
		status string // of the payment afterwards
	}{
		"before it begins": {wire.Any(), wire.HoldBefore, "processing"},
		"before COMMIT":    {wire.Commit(), wire.HoldBefore, "processing"},
		"after COMMIT":     {wire.Commit(), wire.HoldAfter, "succeeded"},
	} {
		t.Run(name, func(t *testing.T) {
			m, p, proxy := onCardsThrough(t)
			path, event := m.heldAndPaid(p)
			held := proxy.On(death.at.From("paymentsvc-money"), death.effect)
			dying := make(chan *answer)
			go func() { dying <- m.deliver(m.other, event) }()
			held.Wait(t)
			proxy.Refuse()
			proxy.Cut()
			proxy.WaitBackendsGone(t)
			(<-dying).want(503)
			m.other = m.first // the other one is dead
			if got := m.get(path).payment(); got.Status != death.status {
				t.Errorf("the dead instance has left %+v", got)
			}
			m.deliver(m.first, event).want(200)
			if got := m.get(path).payment(); got.Status != "succeeded" || got.Version != 2 {
				t.Errorf("it is %+v", got)
			}
			m.wantBalance("shop", 4999)
		})
	}
}

// The processor does not send an event again that was answered with 200. So that answer
// needs a COMMIT that can be believed.
func TestEventIsTakenOnlyWithABelievedCommit(t *testing.T) {
	m, p, proxy := onCardsThrough(t)
	path, event := m.heldAndPaid(p)
	early := newEvent("payment_intent.succeeded", m.ofAttempt("later", p.onlyIntent().ID, p))
	m.deliver(m.other, event).want(200) // its COMMIT is like that of every change of money
	for name, row := range map[string]struct {
		event string
		nth   int // COMMIT: the first one confirms what was looked up
	}{"late": {event, 1}, "early": {early, 1}, "kept": {early, 2}} {
		fault := proxy.On(wire.Commit().From("paymentsvc").Nth(row.nth), wire.SyncRepCancelled)
		if a := m.deliver(m.other, row.event); a.status != 503 {
			a.fail("is %s", name)
		}
		fault.Wait(t)
		m.deliver(m.other, row.event).want(200)
	}
	if got := m.get(path).payment(); got.Status != "succeeded" || got.Version != 2 {
		t.Errorf("it is %+v", got)
	}
	m.wantCount(1, `SELECT count(*) FROM processor_events`)
}

// ofAttempt is an intent as if the request with the key had made it.
func (m *merchant) ofAttempt(key, intentID string, p *processor) map[string]any {
	m.t.Helper()
	intent := p.intent(intentID)
	return changed(intent, "metadata", changed(intent["metadata"].(map[string]any),
		"paymentsvc_attempt", m.attemptID(key)))
}

// attemptID is the id of the attempt of a key, as package payments makes it.
func (m *merchant) attemptID(key string) string {
	name := binary.BigEndian.AppendUint64(nil, uint64(m.id))
	return uuid.NewHash(sha256.New(), uuid.UUID{}, append(name, "client "+key...), 8).String()
}

// A restored backup lacks a payment, and the processor has forgotten the keys of its
// requests. The event of the payment comes before a retry. A bug of statamic-cargo (190)
// answered it with 200 and lost it.
func TestEventBeforeItsPaymentPreventsASecondCharge(t *testing.T) {
	for paymentMethod, status := range map[string]string{
		"pm_card_visa": "succeeded", "pm_card_chargeDeclined": "declined",
	} {
		t.Run(status, func(t *testing.T) {
			m, p := onCards(t)
			var installation string
			if err := m.db.Pool.QueryRow(t.Context(),
				`SELECT id::text FROM processor_installation`).Scan(&installation); err != nil {
				t.Fatal(err)
			}
			// the past that the backup lacks
			intentID := p.call("POST", "/v1/payment_intents", url.Values{
				"amount": {"4999"}, "currency": {"usd"}, "payment_method": {paymentMethod},
				"payment_method_types[]":            {"card"},
				"metadata[paymentsvc_installation]": {installation},
				"metadata[paymentsvc_merchant]":     {fmt.Sprint(m.id)},
				"metadata[paymentsvc_attempt]":      {m.attemptID("k")},
			})["id"].(string)
			if status == "succeeded" {
				p.confirm(intentID)
			} else {
				p.press("cancels", body{"payment_intent": intentID})
			}
			event := newEvent("payment_intent."+status, p.intent(intentID))
			for _, a := range atOnce(10, func(i int) *answer {
				return m.deliver(m.either(i), event)
			}) {
				a.want(200)
			}
			m.wantCount(1, `SELECT count(*) FROM processor_events`)
			if err := m.first.Cards.ApplyEarly(t.Context()); err != nil {
				t.Fatal(err)
			}
			m.wantCount(1, `SELECT count(*) FROM processor_events`) // its payment is not there

			answered := m.charge("k", cardToShop(4999, paymentMethod))
			if got := m.get("/payments/" + answered.paymentID()).payment(); got.Status != status {
				t.Errorf("it is %+v", got)
			}
			m.wantCount(0, `SELECT count(*) FROM processor_events`)
			m.wantCount(1,
				`SELECT count(*) FROM idempotency_keys WHERE scope = 'processor:stripe'`)
			m.retry("k", cardToShop(4999, paymentMethod)).wantReplayOf(answered)
			if got := p.onlyIntent().ID; got != intentID {
				t.Errorf("another intent was made: %s", got)
			}
			m.deliver(m.first, event).want(200)
			if status == "succeeded" {
				// what follows knows the intent
				m.post("r", answered.location()+"/refunds", "").want(201)
			}
		})
	}
}

// An event may be kept at the very moment when its attempt begins. A worker applies it.
func TestKeptEventIsAppliedOnce(t *testing.T) {
	m, p := onCards(t)
	path, event := m.heldAndPaid(p)
	keep := func(event, key string) {
		t.Helper()
		if _, err := m.db.Pool.Exec(t.Context(), `
			INSERT INTO processor_events (merchant_id, id, attempt_id, body)
			VALUES ($1, $2::jsonb ->> 'id', $3, convert_to($2::text, 'UTF8'))`,
			m.id, event, m.attemptID(key)); err != nil {
			t.Fatal(err)
		}
	}
	keep(event, "k")
	errs := make(chan error, 20)
	for i := range cap(errs) {
		go func() { errs <- m.either(i).Cards.ApplyEarly(t.Context()) }()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := m.get(path).payment(); got.Status != "succeeded" || got.Version != 2 {
		t.Errorf("it is %+v", got)
	}
	m.wantCount(0, `SELECT count(*) FROM processor_events`)
	// a late one has no effect, and does not stay
	keep(newEvent("payment_intent.canceled",
		changed(p.intent(p.onlyIntent().ID), "status", "canceled")), "k")
	if err := m.first.Cards.ApplyEarly(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.wantCount(0, `SELECT count(*) FROM processor_events`)
	// nor does a refund whose metadata name a charge, as a person may enter them
	refund := p.press("refunds", body{"payment_intent": p.onlyIntent().ID, "amount": 1})
	m.deliver(m.first, newEvent("refund.updated", changed(refund, "metadata",
		p.intent(p.onlyIntent().ID)["metadata"]))).want(200)
	m.wantCount(1, `SELECT count(*) FROM processor_events`)
	if err := m.first.Cards.ApplyEarly(t.Context()); err != nil {
		t.Error(err)
	}
	m.wantCount(0, `SELECT count(*) FROM processor_events`)
	m.wantBalance("shop", 4999)
}

func TestEventWhosePaymentNeverComesIsGivenUp(t *testing.T) {
	m, p := onCards(t)
	m.charge("k", cardToShop(1, "pm_card_visa")).want(201)
	event := newEvent("payment_intent.succeeded", m.ofAttempt("never", p.onlyIntent().ID, p))
	m.deliver(m.first, event).want(200)
	m.deliver(m.first, newEvent("payment_intent.succeeded",
		m.ofAttempt("never either", p.onlyIntent().ID, p))).want(200)
	for _, row := range []struct {
		retention     time.Duration
		deleted, left int
	}{{time.Hour, 0, 2}, {time.Microsecond, 1, 1}, {time.Microsecond, 1, 0}} {
		const limit = 1
		n, err := m.first.Cards.DeleteEarly(t.Context(), row.retention, limit)
		if err != nil || n != row.deleted {
			t.Fatal(n, err)
		}
		m.wantCount(row.left, `SELECT count(*) FROM processor_events`)
	}
	if m.first.logged("level=WARN", "payment never came", m.attemptID("never")) == "" {
		t.Error("the log does not tell of the event")
	}
}
