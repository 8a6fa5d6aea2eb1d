package httpapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/cards"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// clearing is the account that the money of cards comes from.
const clearing = "processor:stripe:USD"

func TestCardIsChargedOnceAndTheAnswerIsReplayed(t *testing.T) {
	m, p := onCards(t)
	charge := cardToShop(4999, "pm_card_visa").with("reference", "order")
	first := m.charge("k", charge).want(201).wantFresh()
	if got := first.payment(); got.Status != "succeeded" || got.AmountCaptured != 4999 {
		first.fail("is not the payment")
	}
	m.retry("k", charge).wantReplayOf(first)
	m.charge("k", charge.with("amount", 5000)).wantProblem("idempotency_key_reused")
	m.charge("other", charge).wantProblem("duplicate_reference")
	m.wantBalance("shop", 4999)
	m.wantBalance(clearing, -4999)
	if got := p.onlyIntent(); got.TimesTaken != 1 || got.AmountReceived != 4999 {
		t.Errorf("the processor has %+v", got)
	}
	listed := readPage[paymentView](m.get("/payments?account=" + clearing))
	if len(listed.Data) != 1 || listed.Data[0].ID != first.paymentID() {
		t.Errorf("the clearing account's payments are %+v", listed.Data)
	}
}

func TestDuplicatesOfACardChargeWaitForTheFirst(t *testing.T) {
	m, p := onCards(t)
	charge := cardToShop(4999, "pm_sim_slow")
	answers := atOnce(20, func(i int) *answer {
		return m.chargeOn(m.either(i), "k", charge.String())
	})
	first := answers[slices.IndexFunc(answers, func(a *answer) bool { return !a.replayed() })]
	for _, a := range answers {
		a.want(201)
		if a != first {
			a.wantReplayOf(first)
		}
	}
	p.wantTaken(1)
}

// The first caller and every duplicate alike hear that the request is in progress.
func TestCardChargeInProgressIsAnsweredLater(t *testing.T) {
	m, p := onCards(t)
	before := len(m.awaitEvents(2))
	p.gate.shut("/confirm")
	charge := cardToShop(4999, "pm_card_visa")
	first := m.noWait(m.first, "k", "/payments", charge).wantProblem("idempotency_key_in_progress")
	id := first.paymentID()
	p.gate.awaitHeld()
	for _, in := range []*instance{m.first, m.other} {
		again := m.noWait(in, "k", "/payments", charge).wantProblem("idempotency_key_in_progress")
		if again.paymentID() != id || again.header.Get("Retry-After") != "1" {
			again.fail("is not about %s, or does not say when to come back", id)
		}
		m.noWait(in, "k", "/payments", charge.with("amount", 1)).
			wantProblem("idempotency_key_reused")
	}
	path := "/payments/" + id
	if got := m.get(path).want(200).payment(); got.Status != "processing" || got.Version != 1 {
		t.Errorf("meanwhile it is %+v", got)
	}
	m.post("c", path+"/capture", "").wantProblem("invalid_state")
	m.post("r", path+"/refunds", "").wantProblem("invalid_state")
	m.close("shop").wantProblem("account_not_empty")
	m.wantBalance("shop", 0)
	if got := typesOf(m.awaitEvents(before + 1)[before:]); !slices.Equal(got,
		[]string{"payment.processing"}) {
		t.Errorf("the events are %v", got)
	}
	p.gate.open()
	final := m.retry("k", charge).want(201)
	if got := final.header.Get("Original-Request-Id"); got != first.requestID() {
		final.fail("was made for %s, and %s has begun it", got, first.requestID())
	}
	if got := final.payment(); got.ID != id || got.Status != "succeeded" || got.Version != 2 {
		final.fail("is not the end of %s", id)
	}
	if got := typesOf(m.awaitEvents(before + 2)[before:]); !slices.Equal(got,
		[]string{"payment.processing", "payment.succeeded"}) {
		t.Errorf("the events are %v", got)
	}
	m.retry("k", charge).wantReplayOf(final)
	p.wantTaken(1)
}

// RFC 7240, section 2: a preference that cannot be read is ignored.
func TestPreferenceShortensTheWait(t *testing.T) {
	m, p := onCards(t)
	p.gate.shut("/confirm")
	send := func(key string, prefer ...string) *answer {
		return m.send(m.first, call{
			method: "POST", path: "/payments", body: cardToShop(1, "pm_card_visa").String(),
			header: http.Header{"Idempotency-Key": {key}, "Prefer": prefer},
		})
	}
	for i, prefer := range [][]string{
		{"wait=0"},
		{"WAIT = 0"},
		{`wait="0"`},
		{"respond-async, wait=0"},
		{"wait=0; x=y"},
		{"return=minimal", "wait=0"},
		{"wait=soon, wait=0"},
	} {
		send(fmt.Sprint(i), prefer...).wantProblem("idempotency_key_in_progress")
	}
	began := time.Now()
	send("one second", "wait=1").wantProblem("idempotency_key_in_progress")
	if took := time.Since(began); took < time.Second {
		t.Errorf("it waited for %v", took)
	}
	answered := make(chan *answer)
	unreadable := []string{"wait", "wait=", "wait=-1", "wait=soon", "waits=0", "wait=99999999999"}
	for _, prefer := range unreadable {
		go func() { answered <- send(prefer, prefer) }()
	}
	p.gate.awaitHeld()
	p.gate.open()
	for range unreadable {
		(<-answered).want(201)
	}
}

// The calls of a merchant hang, and there is no room for another one. Keys that are taken
// are answered as ever, and so are charges of accounts. The test is not parallel, because
// the race detector limits the number of goroutines.
func TestFullProcessorRefusesNewCardChargesOnly(t *testing.T) {
	p, db := newProcessor(t), pgtest.New(t)
	s := settings{processor: p.settings()}
	m := newMerchant(t, db, newInstanceWith(t, db.URL, s), newInstanceWith(t, db.URL, s))
	charge := cardToShop(1, "pm_card_visa")
	done := m.charge("done", charge).want(201)
	m.retry("done", charge).wantReplayOf(done)
	p.gate.shut("/payment_intents")
	const most, together = 1024, 64
	for begun := 0; begun < most; begun += together {
		for _, a := range atOnce(together, func(i int) *answer {
			return m.noWait(m.first, fmt.Sprint(begun+i), "/payments", charge)
		}) {
			a.wantProblem("idempotency_key_in_progress")
		}
	}
	m.noWait(m.first, "new", "/payments", charge).want(503).wantProblem("overloaded")
	m.chargeOn(m.first, "done", charge.String()).wantReplayOf(done)
	again := m.noWait(m.first, "7", "/payments", charge).
		wantProblem("idempotency_key_in_progress")
	if again.paymentID() == "" {
		again.fail("has no payment")
	}
	m.noWait(m.first, "7", "/payments", charge.with("amount", 2)).
		wantProblem("idempotency_key_reused")
	m.chargeOn(m.first, "account", aliceToShop(1).String()).want(201)
	p.gate.open()
	m.retry("new", charge).want(201)
}

func TestDeclineOfACardIsStored(t *testing.T) {
	m, p := onCards(t)
	for paymentMethod, want := range map[string]struct{ code, declineCode string }{
		"pm_card_chargeDeclined":                  {"card_declined", "card_declined"},
		"pm_card_chargeDeclinedExpiredCard":       {"card_declined", "expired_card"},
		"pm_card_authenticationRequired":          {"card_declined", "authentication_required"},
		"pm_card_chargeDeclinedInsufficientFunds": {"insufficient_funds", "insufficient_funds"},
	} {
		charge := cardToShop(4999, paymentMethod).with("reference", paymentMethod)
		declined := m.charge(paymentMethod, charge).want(402).wantProblem(want.code)
		got := m.get("/payments/" + declined.paymentID()).want(200).payment()
		if got.Status != "declined" || got.DeclineCode != want.declineCode {
			t.Errorf("%s ended as %+v", paymentMethod, got)
		}
		m.retry(paymentMethod, charge).wantReplayOf(declined)
		// another attempt is a new intent
		m.charge("again "+paymentMethod, charge.with("payment_method", "pm_card_visa")).want(201)
	}
	p.wantTaken(4)
	m.wantBalance("shop", 4*4999)
}

func TestAuthorizedCardIsCapturedCanceledAndRefunded(t *testing.T) {
	m, p := onCards(t)
	authorize := func(key string) string {
		held := m.charge(key, cardToShop(100, "pm_card_visa").with("capture", false)).want(201)
		if got := held.payment(); got.Status != "authorized" ||
			!strings.Contains(string(held.body), "authorized_until") {
			held.fail("is not authorized")
		}
		return held.location()
	}
	path := authorize("hold")
	m.wantBalance("shop", 0)
	captured := m.post("capture", path+"/capture", `{"amount":60}`).want(200)
	if got := captured.payment(); got.Status != "succeeded" || got.AmountCaptured != 60 {
		captured.fail("is not the capture of 60")
	}
	m.retry("hold", cardToShop(100, "pm_card_visa").with("capture", false)).want(201)
	refund := m.post("refund", path+"/refunds", `{"amount":20}`).want(201)
	m.post("refund", path+"/refunds", `{"amount":20}`).wantReplayOf(refund)
	m.post("rest", path+"/refunds", `{"amount":41}`).wantProblem("amount_too_large")
	m.post("rest", path+"/refunds", "").want(201)
	m.wantBalance("shop", 0)
	m.wantBalance(clearing, 0)

	void := authorize("void")
	canceled := m.post("cancel", void+"/cancel", "").want(200)
	if got := canceled.payment(); got.Status != "canceled" ||
		got.CancellationReason != "requested" {
		canceled.fail("is not canceled")
	}
	m.post("late", void+"/capture", "").wantProblem("invalid_state")
	p.wantTaken(1)
}

// The amount of a refund that is at the processor is held: it cannot be spent, and not be
// refunded twice.
func TestRefundOfACardIsProcessingUntilTheProcessorAnswers(t *testing.T) {
	m, p := onCards(t)
	path := m.charge("k", cardToShop(100, "pm_card_visa")).want(201).location()
	p.gate.shut("/refunds")
	first := m.noWait(m.first, "r", path+"/refunds", body{"amount": 60}).
		wantProblem("idempotency_key_in_progress")
	p.gate.awaitHeld()
	listed := readPage[refundView](m.get(path + "/refunds"))
	if len(listed.Data) != 1 || listed.Data[0].Status != "processing" {
		t.Errorf("the refunds are %+v", listed.Data)
	}
	m.post("other", path+"/refunds", `{"amount":41}`).wantProblem("amount_too_large")
	spent := aliceToShop(41).with("source_account", "shop").with("destination_account", "alice")
	m.charge("spent", spent).wantProblem("insufficient_funds")
	if got := m.get(path).want(200).payment(); got.AmountRefunded != 0 {
		t.Errorf("meanwhile it is %+v", got)
	}
	p.gate.open()
	done := m.post("r", path+"/refunds", `{"amount":60}`).want(201)
	if done.header.Get("Original-Request-Id") != first.requestID() {
		done.fail("was not made for %s", first.requestID())
	}
	m.wantBalance("shop", 40)
	if got := m.get(path).want(200).payment(); got.AmountRefunded != 60 {
		t.Errorf("it is %+v", got)
	}
}

type refundView struct{ ID, Status string }

func TestCaptureOfAnAuthorizationThatTheProcessorHasEndedIsDeclined(t *testing.T) {
	m, p := onCards(t)
	path := m.charge("k", cardToShop(100, "pm_card_visa").with("capture", false)).want(201).
		location()
	p.press("cancels", body{"payment_intent": p.onlyIntent().ID})
	declined := m.post("capture", path+"/capture", "").want(402).wantProblem("card_declined")
	if got := m.get(path).want(200).payment(); got.Status != "canceled" ||
		got.CancellationReason != "expired" {
		t.Errorf("it is %+v", got)
	}
	m.post("capture", path+"/capture", "").wantReplayOf(declined)
	m.wantBalance("shop", 0)
}

func TestCardChargeIsRefusedWithoutATrace(t *testing.T) {
	m, _ := onCards(t)
	for pointer, charges := range map[string][]body{
		"/payment_method": {
			cardToShop(1, "4242424242424242"), cardToShop(1, "pm card"), cardToShop(1, "pm-1"),
			cardToShop(1, strings.Repeat("p", 256)),
		},
		"/amount": {
			cardToShop(0, "pm_card_visa"), cardToShop(100_000_000, "pm_card_visa"),
		},
		"/source_account": {aliceToShop(1).with("source_account", clearing)},
		"/destination_account": {
			cardToShop(1, "pm_card_visa").with("destination_account", clearing),
		},
	} {
		for _, charge := range charges {
			m.charge("k", charge).wantProblem(refused).wantErrorAt(pointer)
		}
	}
	both := cardToShop(1, "pm_card_visa").with("source_account", "alice")
	m.charge("k", both).wantProblem("invalid_request")
	m.charge("k", cardToShop(1, "pm_card_visa").with("destination_account", "nobody")).
		wantProblem("account_not_found")
	m.wantPayments(0)
	m.charge("k", cardToShop(1, "pm_card_visa")).want(201)
}

// The answer says whether a person has to decide, and nothing that the processor said.
func TestCardAttemptsSayWhatAPaymentWaitsFor(t *testing.T) {
	m, p := onCards(t)
	path, _ := m.held(p, "k", cardToShop(100, "pm_card_visa"))
	type attempt struct {
		ID, Operation, State string
		Tries                int
		RefundID             *string `json:"refund_id"`
	}
	open := func() []attempt { return readPage[attempt](m.get(path + "/attempts").want(200)).Data }
	charge := open()
	if len(charge) != 1 || charge[0] != (attempt{charge[0].ID, "charge", "open", 0, nil}) {
		t.Errorf("it waits for %v", charge)
	}
	p.gate.open()
	m.awaitStatus(path, "succeeded")
	if got := open(); len(got) != 0 {
		t.Errorf("a settled payment waits for %v", got)
	}
	p.gate.shut("/refunds")
	m.noWait(m.first, "r", path+"/refunds", body{"amount": 40}).
		wantProblem("idempotency_key_in_progress")
	p.gate.awaitHeld()
	setState := func(state string) {
		t.Helper()
		if _, err := m.db.Pool.Exec(t.Context(), `
			UPDATE processor_attempts SET state = $1, due_at = clock_timestamp(), tries = 3,
				created_at = date_trunc('second', created_at),
				problem = 'the processor said: secret'
			WHERE state <> 'settled'`, state); err != nil {
			t.Fatal(err)
		}
	}
	setState("review")
	if got := m.get(path + "/attempts"); strings.Contains(string(got.body), "secret") {
		got.fail("tells what the processor said")
	}
	got := open()
	refund := readPage[refundView](m.get(path + "/refunds")).Data[0].ID
	if len(got) != 1 || got[0].RefundID == nil || *got[0].RefundID != refund ||
		got[0] != (attempt{got[0].ID, "refund", "review", 3, got[0].RefundID}) {
		t.Errorf("it waits for %v", got)
	}
	if _, err := cards.Find(t.Context(), m.db.Pool, uuid.MustParse(got[0].ID)); err != nil {
		t.Errorf("an operator does not find %s: %v", got[0].ID, err)
	}
	setState("open")
	p.gate.open()
	m.post("r", path+"/refunds", `{"amount":40}`).want(201)
}

func TestInstanceWithoutAProcessorTellsOfWaitingPayments(t *testing.T) {
	m, p := onCards(t)
	const warning = "card payments wait for their processor"
	if newInstance(t, m.db.URL).logged("level=WARN", warning) != "" {
		t.Error("it warns of nothing")
	}
	path, _ := m.held(p, "k", cardToShop(1, "pm_card_visa"))
	m.other = newInstance(t, m.db.URL)
	if m.other.logged("level=WARN", warning) == "" {
		t.Error("the log does not tell of the payment")
	}
	m.noWait(m.other, "k", "/payments", cardToShop(1, "pm_card_visa")).
		wantProblem("idempotency_key_in_progress")
	waiting := m.send(m.other, call{method: "GET", path: path + "/attempts"}).want(200)
	if !strings.Contains(string(waiting.body), `"state":"open"`) {
		waiting.fail("does not tell of the attempt")
	}
	p.gate.open()
	m.other = m.first
	m.awaitStatus(path, "succeeded")
}

func TestCardsNeedAProcessor(t *testing.T) {
	m := onOneInstance(t)
	m.charge("k", cardToShop(1, "pm_card_visa")).wantProblem(refused).
		wantErrorAt("/payment_method")
	m.charge("k", aliceToShop(1)).want(201) // the key is free
	for _, path := range []string{"stripe", "other"} {
		m.send(m.first, call{method: "POST", path: "/processor-events/" + path, body: "{}"}).
			wantProblem("not_found")
	}
}
