package httpapi_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/httpapi"
)

// sign is the header of an event that was sent at a time, with a signature by each secret.
func sign(event string, at time.Time, secrets ...string) string {
	header := fmt.Sprintf("t=%d", at.Unix())
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		fmt.Fprintf(mac, "%d.%s", at.Unix(), event)
		header += ",v1=" + hex.EncodeToString(mac.Sum(nil))
	}
	return header
}

// newEvent is an event about an object, under an id of its own.
func newEvent(kind string, object map[string]any) string {
	return body{
		"id": "evt_" + uuid.NewString(), "object": "event", "type": kind, "created": 1764547200,
		"data": map[string]any{"object": object},
	}.String()
}

// changed is the object with another value of a member.
func changed(object map[string]any, member string, value any) map[string]any {
	return body(object).with(member, value)
}

// deliver sends an event to an instance as the processor does.
func (m *merchant) deliver(in *instance, event string) *answer {
	m.t.Helper()
	return m.deliverSigned(in, event, sign(event, time.Now(), eventSecret))
}

func (m *merchant) deliverSigned(in *instance, event string, signatures ...string) *answer {
	m.t.Helper()
	return m.send(in, call{
		method: "POST", path: "/processor-events/stripe", body: event,
		header: http.Header{"Authorization": nil, "Stripe-Signature": signatures},
	})
}

// intent is an intent as the processor shows it.
func (p *processor) intent(id string) map[string]any {
	p.t.Helper()
	return p.call("GET", "/v1/payment_intents/"+id, nil)
}

// confirm charges an intent past the gate.
func (p *processor) confirm(id string) {
	p.t.Helper()
	p.call("POST", "/v1/payment_intents/"+id+"/confirm", nil)
}

// held begins a charge by card whose confirmation is held at the gate. It returns the
// payment's path and the id of its intent.
func (m *merchant) held(p *processor, key string, charge body) (path, intentID string) {
	m.t.Helper()
	p.gate.shut("/confirm")
	id := m.noWait(m.first, key, "/payments", charge).
		wantProblem("idempotency_key_in_progress").paymentID()
	p.gate.awaitHeld()
	books, err := p.Books()
	if err != nil {
		m.t.Fatal(err)
	}
	return "/payments/" + id, books.Intents[len(books.Intents)-1].ID
}

func TestEventNeedsASignatureOverItsBytes(t *testing.T) {
	m, p := onCards(t)
	path, intentID := m.held(p, "k", cardToShop(4999, "pm_card_visa"))
	p.confirm(intentID)
	event := newEvent("payment_intent.succeeded", p.intent(intentID))
	now := time.Now()
	encodedAgain := strings.ReplaceAll(event, ":", ": ") // the same JSON
	for name, row := range map[string]struct {
		event      string
		signatures []string
	}{
		"none":           {event, nil},
		"another secret": {event, []string{sign(event, now, "whsec_other")}},
		"no secret":      {event, []string{sign(event, now, "")}},
		"an API key":     {event, []string{m.apiKey}},
		"other bytes":    {encodedAgain, []string{sign(event, now, eventSecret)}},
		"old":            {event, []string{sign(event, now.Add(-6*time.Minute), eventSecret)}},
		"of the future":  {event, []string{sign(event, now.Add(6*time.Minute), eventSecret)}},
		"two headers": {event, []string{
			sign(event, now, eventSecret), sign(event, now, eventSecret),
		}},
	} {
		refused := m.deliverSigned(m.first, row.event, row.signatures...).want(401).
			wantProblem("unauthorized")
		if got := refused.header.Get("WWW-Authenticate"); got != "Stripe-Signature" {
			t.Errorf("%s: the challenge is %q", name, got)
		}
	}
	if got := m.get(path).payment(); got.Status != "processing" {
		t.Fatalf("an event without a signature made it %+v", got)
	}
	m.deliverSigned(m.first, encodedAgain, sign(encodedAgain, now.Add(-4*time.Minute),
		"whsec_other", eventSecretOld)).want(200) // the secret that is being replaced
	if got := m.get(path).payment(); got.Status != "succeeded" {
		t.Errorf("it is %+v", got)
	}
	for _, unreadable := range []string{"{}", "[]", "", `{"id":"evt_1"}`} {
		m.deliver(m.first, unreadable).wantProblem("invalid_request")
	}
	for _, secret := range []string{eventSecret, eventSecretOld} {
		if m.first.Log.Count(secret) > 0 {
			t.Error("a secret was logged")
		}
	}
}

// Bugs of lago-api (2243, 3618) credited twice when duplicates came within milliseconds.
// The event also comes before the API's own answer, whose call hangs.
func TestEventThatComesAHundredTimesAtOnceHasOneEffect(t *testing.T) {
	m, p := onCards(t)
	before := len(m.awaitEvents(2))
	path, intentID := m.held(p, "k", cardToShop(4999, "pm_card_visa"))
	waiting := make(chan *answer)
	go func() { waiting <- m.retry("k", cardToShop(4999, "pm_card_visa")) }()
	p.confirm(intentID)
	event := newEvent("payment_intent.succeeded", p.intent(intentID))
	for _, a := range atOnce(100, func(i int) *answer {
		return m.deliver(m.either(i), event)
	}) {
		a.want(200)
	}
	answered := (<-waiting).want(201) // while the call still hangs
	if got := answered.payment(); got.Status != "succeeded" || got.Version != 2 {
		answered.fail("is not the end of the charge")
	}
	m.wantBalance("shop", 4999)
	m.wantCount(1, `SELECT count(*) FROM idempotency_keys WHERE scope = 'processor:stripe'`)
	p.gate.open()
	m.deliver(m.other, event).want(200)
	if got := typesOf(m.awaitEvents(before + 2)[before:]); !slices.Equal(got,
		[]string{"payment.processing", "payment.succeeded"}) {
		t.Errorf("the events are %v", got)
	}
	m.retry("k", cardToShop(4999, "pm_card_visa")).wantReplayOf(answered)
	if got := m.get(path).payment(); got.Version != 2 {
		t.Errorf("it is %+v", got)
	}
	p.wantTaken(1)
}

// A bug of adyen-shopware6 (311): a late failure made a paid order a failed one.
func TestLateEventChangesNothing(t *testing.T) {
	m, p := onCards(t)
	path := m.charge("k", cardToShop(4999, "pm_card_visa")).want(201).location()
	m.post("r", path+"/refunds", `{"amount":1}`).want(201)
	intent := p.intent(p.onlyIntent().ID)
	refund := p.call("GET", "/v1/refunds", url.Values{})["data"].([]any)[0].(map[string]any)
	then := m.get(path).want(200)
	for _, status := range []string{
		"requires_payment_method", "processing", "requires_capture", "canceled", "succeeded",
	} {
		m.deliver(m.first, newEvent("payment_intent."+status, changed(intent, "status", status))).
			want(200)
	}
	for _, status := range []string{"pending", "failed", "canceled", "succeeded"} {
		m.deliver(m.first, newEvent("refund.updated", changed(refund, "status", status))).want(200)
	}
	m.recover()
	if now := m.get(path).want(200); string(now.body) != string(then.body) {
		now.fail("was %s before the late events", then.body)
	}
	m.wantBalance("shop", 4998)
	if m.first.logged("level=WARN", "a refund failed", then.paymentID()) == "" {
		t.Error("the log does not warn of the refund that failed after all")
	}
}

// An intent's events have the metadata of the charge, also those of a capture and of a
// cancellation.
func TestEventSettlesTheOpenAttemptOfItsPayment(t *testing.T) {
	m, p := onCards(t)
	authorize := func(key string) (path, intentID string) {
		held := m.charge(key, cardToShop(100, "pm_card_visa").with("capture", false)).want(201)
		books, err := p.Books()
		if err != nil {
			t.Fatal(err)
		}
		return held.location(), books.Intents[len(books.Intents)-1].ID
	}
	path, intentID := authorize("captured")
	p.gate.shut("/capture")
	m.noWait(m.first, "c", path+"/capture", body{"amount": 60}).
		wantProblem("idempotency_key_in_progress")
	// not what was asked for: the processor is asked, and nothing is settled
	p.gate.awaitHeld()
	other := changed(changed(p.intent(intentID), "status", "succeeded"), "amount_received", 61)
	m.deliver(m.first, newEvent("payment_intent.succeeded", other)).want(200)
	if got := m.get(path).payment(); got.Status != "authorized" {
		t.Errorf("it is %+v", got)
	}
	p.call("POST", "/v1/payment_intents/"+intentID+"/capture",
		url.Values{"amount_to_capture": {"60"}})
	m.deliver(m.first, newEvent("payment_intent.succeeded", p.intent(intentID))).want(200)
	if got := m.post("c", path+"/capture", `{"amount":60}`).want(200).payment(); got.
		AmountCaptured != 60 {
		t.Errorf("it is %+v", got)
	}

	p.gate.shut("/refunds")
	m.noWait(m.first, "r", path+"/refunds", body{"amount": 10}).
		wantProblem("idempotency_key_in_progress")
	p.gate.awaitHeld()
	var attemptID uuid.UUID
	if err := m.db.Pool.QueryRow(t.Context(),
		`SELECT id FROM processor_attempts WHERE operation = 'refund'`,
	).Scan(&attemptID); err != nil {
		t.Fatal(err)
	}
	metadata := p.intent(intentID)["metadata"].(map[string]any)
	refund := map[string]any{
		"id": "re_1", "object": "refund", "amount": 10, "currency": "usd", "status": "failed",
		"payment_intent": intentID, "created": 1764547200,
		"metadata": changed(metadata, "paymentsvc_attempt", attemptID.String()),
	}
	m.deliver(m.first, newEvent("refund.failed", refund)).want(200)
	m.post("r", path+"/refunds", `{"amount":10}`).want(402).wantProblem("card_declined")
	m.wantBalance("shop", 60)

	path, intentID = authorize("voided")
	p.gate.shut("/cancel")
	m.noWait(m.first, "v", path+"/cancel", nil).wantProblem("idempotency_key_in_progress")
	p.gate.awaitHeld()
	p.press("cancels", body{"payment_intent": intentID})
	m.deliver(m.first, newEvent("payment_intent.canceled", p.intent(intentID))).want(200)
	m.post("v", path+"/cancel", "").want(200)
}

func TestEventsOfOthersAreIgnored(t *testing.T) {
	m, p := onCards(t)
	path, intentID := m.held(p, "k", cardToShop(4999, "pm_card_visa"))
	paid := changed(changed(p.intent(intentID), "status", "succeeded"), "amount_received", 4999)
	metadata := paid["metadata"].(map[string]any)
	for _, object := range []map[string]any{
		changed(paid, "metadata", map[string]any{}),
		changed(paid, "metadata", changed(metadata, "paymentsvc_installation", uuid.NewString())),
		changed(paid, "metadata", changed(metadata, "paymentsvc_attempt", "x")),
		// an intent of our attempt that the attempt does not know
		changed(paid, "id", "pi_other"),
		changed(changed(paid, "id", "pi_other"), "status", "canceled"),
		{"id": "cus_1", "object": "customer"},
	} {
		m.deliver(m.first, newEvent("payment_intent.succeeded", object)).want(200)
	}
	if got := m.get(path).payment(); got.Status != "processing" {
		t.Errorf("it is %+v", got)
	}
	m.wantCount(0, `SELECT count(*) FROM processor_events`)
}

// A bug of hyperswitch (14003): the second event about a dispute was a 500.
func TestDisputesAndRefundsOfTheDashboardAreLogged(t *testing.T) {
	m, p := onCards(t)
	id := m.charge("k", cardToShop(4999, "pm_card_visa")).want(201).paymentID()
	intentID := p.onlyIntent().ID
	dispute := p.press("disputes", body{"payment_intent": intentID})
	refund := p.press("refunds", body{"payment_intent": intentID, "amount": 7})
	for range 2 {
		m.deliver(m.first, newEvent("charge.dispute.created", dispute)).want(200)
		m.deliver(m.first, newEvent("refund.created", refund)).want(200)
	}
	for _, texts := range [][]string{{"is disputed", "fraudulent"}, {"a refund was made"}} {
		if m.first.logged(append(texts, "level=WARN", "payment_id="+id)...) == "" {
			t.Errorf("the log does not tell of %v", texts)
		}
	}
	p.press("disputes", body{"payment_intent": intentID}) // of no payment that is known here
	dispute["payment_intent"] = "pi_unknown"
	m.deliver(m.first, newEvent("charge.dispute.closed", dispute)).want(200)
	m.wantBalance("shop", 4999)
}

func TestEventThatIsNotFinalMakesItsAttemptDue(t *testing.T) {
	m, p := onCards(t)
	path, intentID := m.held(p, "k", cardToShop(4999, "pm_card_visa"))
	processing := newEvent("payment_intent.processing",
		changed(p.intent(intentID), "status", "processing"))
	const due = `SELECT count(*) FROM processor_attempts WHERE due_at <= clock_timestamp()`
	m.deliver(m.first, processing).want(200)
	m.wantCount(0, due) // it is leased
	m.forge(1, `UPDATE processor_attempts SET tries = token`)
	m.deliver(m.first, processing).want(200)
	m.wantCount(1, due)
	p.gate.open()
	m.awaitStatus(path, "succeeded")
	p.wantTaken(1)
}

// The processor's last word is better than a person's.
func TestEventSettlesAnAttemptThatWaitsForAPerson(t *testing.T) {
	m, p := onCards(t)
	path, event := m.heldAndPaid(p)
	m.forge(1, `UPDATE processor_attempts SET state = 'review', tries = tries + 1`)
	notFinal := changed(p.intent(p.onlyIntent().ID), "status", "processing")
	m.deliver(m.first, newEvent("payment_intent.processing", notFinal)).want(200)
	m.wantCount(1, `SELECT count(*) FROM processor_attempts WHERE state = 'review'`)
	m.deliver(m.first, event).want(200)
	if got := m.get(path).payment(); got.Status != "succeeded" {
		t.Errorf("it is %+v", got)
	}
}

func TestEventMayBeLongAndComeOften(t *testing.T) {
	m, _ := onCards(t, func(s *settings) {
		s.rateLimit = httpapi.RateLimit{PerSecond: 1, Burst: 10}
	})
	of := func(size int) string {
		return newEvent("customer.created", map[string]any{
			"id": "cus_1", "object": "customer", "description": strings.Repeat("x", size),
		})
	}
	for range 20 {
		m.deliver(m.first, of(250<<10)).want(200)
	}
	m.deliver(m.first, of(256<<10)).wantProblem("payload_too_large")
	event := of(1)
	m.send(m.first, call{
		method: "POST", path: "/processor-events/stripe", body: event, header: http.Header{
			"Stripe-Signature": {sign(event, time.Now(), eventSecret)},
			"Sec-Fetch-Site":   {"cross-site"},
		},
	}).wantProblem("forbidden")
	m.send(m.first, call{method: "POST", path: "/processor-events/other", body: event}).
		wantProblem("not_found")
}

// Anybody can send a body, and it is read before its signature is checked.
func TestBodiesOfUnknownSendersTakeBoundedMemory(t *testing.T) {
	m, _ := onCards(t)
	const most = 128
	begun, end := make(chan struct{}), make(chan struct{})
	send := func(ctx context.Context, body io.Reader) *httptest.ResponseRecorder {
		answer := httptest.NewRecorder()
		m.first.Handler.ServeHTTP(answer, httptest.NewRequestWithContext(ctx, http.MethodPost,
			"/processor-events/stripe", body))
		return answer
	}
	var slow sync.WaitGroup
	defer slow.Wait()
	for range most {
		slow.Go(func() { send(t.Context(), slowBody{begun, end}) })
		<-begun
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	further := strings.NewReader("{}")
	if a := send(ctx, further); a.Code != 503 || further.Len() != 2 ||
		!strings.Contains(a.Body.String(), "overloaded") {
		t.Errorf("a further one is answered %d %s", a.Code, a.Body)
	}
	close(end)
	m.deliver(m.first, newEvent("customer.created", map[string]any{"object": "customer"})).
		want(200)
}

// slowBody is a body that comes to its end when the test says so.
type slowBody struct {
	begun chan<- struct{}
	end   <-chan struct{}
}

func (b slowBody) Read([]byte) (int, error) {
	b.begun <- struct{}{}
	<-b.end
	return 0, io.EOF
}
