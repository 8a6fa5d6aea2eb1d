package simulator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// Each row is a payment method whose first confirmation loses or damages its answer. The
// same request again gets the true one, and the books have one charge.
func TestFaultsOfFirstConfirmation(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{})
	for card, want := range map[string]struct {
		says  func(reply, error) bool
		taken int
	}{
		"pm_sim_reset_after_charge":   {isReset, 1},
		"pm_sim_reset_before_charge":  {isReset, 0},
		"pm_sim_timeout_then_success": {isTimeout, 1},
		"pm_sim_timeout_then_decline": {isTimeout, 0},
		"pm_sim_429":                  {hasStatus(429), 0},
		"pm_sim_409":                  {hasStatus(409), 0},
		"pm_sim_garbage": {func(r reply, err error) bool {
			return err == nil && r.status == 200 && !json.Valid([]byte(r.body))
		}, 1},
		"pm_sim_10mb": {func(r reply, err error) bool {
			return err == nil && r.status == 200 && len(r.body) > 10<<20
		}, 1},
		"pm_sim_slow":      {hasStatus(200), 1},
		"pm_sim_slow_drip": {hasStatus(200), 1},
		"pm_sim_hang":      {hasStatus(200), 1},
	} {
		t.Run(card, func(t *testing.T) {
			t.Parallel()
			path := create(t, s, card)
			ctx, cancel := context.WithTimeout(t.Context(), patience(card))
			defer cancel()
			if r, err := send(ctx, s.URL(), path+"/confirm", card, ""); !want.says(r, err) {
				t.Errorf("the first try: %d %.200s, %v", r.status, r.body, err)
			}
			if i := find(t, s, path); i.TimesTaken != want.taken {
				t.Errorf("after the first try: %+v", i)
			}
			status := 200
			if strings.HasSuffix(card, "decline") {
				status = 402
			}
			if r := post(t, s.URL(), path+"/confirm", card, ""); r.status != status {
				t.Errorf("the second try: %d %s", r.status, r.body)
			}
			if i := find(t, s, path); (i.TimesTaken == 1) != (status == 200) {
				t.Errorf("after the second try: %+v", i)
			}
		})
	}
}

// patience is how long a client waits for an answer.
func patience(card string) time.Duration {
	if strings.HasPrefix(card, "pm_sim_timeout") {
		return 200 * time.Millisecond
	}
	return 30 * time.Second
}

func isReset(_ reply, err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF)
}

func isTimeout(_ reply, err error) bool { return errors.Is(err, context.DeadlineExceeded) }

func hasStatus(status int) func(reply, error) bool {
	return func(r reply, err error) bool { return err == nil && r.status == status }
}

// find reads the intent of a path from the books.
func find(t *testing.T, s *simulator.Server, path string) simulator.BookIntent {
	t.Helper()
	for _, i := range books(t, s).Intents {
		if i.ID == filepath.Base(path) {
			return i
		}
	}
	t.Fatalf("the books have no %s", path)
	return simulator.BookIntent{}
}

// A request that hangs is executed even if its client has gone: a late charge.
func TestHangingRequestChargesAfterItsClientHasGone(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{})
	path := create(t, s, "pm_sim_hang")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := send(ctx, s.URL(), path+"/confirm", "k", ""); !isTimeout(reply{}, err) {
		t.Fatal(err)
	}
	await.Until(t, 10*time.Second, "the late charge", func() bool {
		return find(t, s, path).TimesTaken == 1
	})
}

func TestProcessingEndsLater(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{})
	path := create(t, s, "pm_sim_processing")
	if r := post(t, s.URL(), path+"/confirm", "", ""); r.Status != "processing" {
		t.Fatalf("%d %s", r.status, r.body)
	}
	await.Until(t, 10*time.Second, "success", func() bool {
		return get(t, s.URL(), path).Status == "succeeded"
	})
}

func TestPaymentCanceledInProcessingStaysCanceled(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{Delays: simulator.Delays{Processing: time.Second}})
	path := create(t, s, "pm_sim_processing")
	post(t, s.URL(), path+"/confirm", "", "")
	if r := post(t, s.URL(), path+"/cancel", "", ""); r.Status != "canceled" {
		t.Fatalf("canceled: %d %s", r.status, r.body)
	}
	later := create(t, s, "pm_sim_processing")
	post(t, s.URL(), later+"/confirm", "", "")
	await.Until(t, 10*time.Second, "the end of a later payment", func() bool {
		return find(t, s, later).Status == "succeeded"
	})
	if i := find(t, s, path); i.Status != "canceled" || i.TimesTaken != 0 {
		t.Errorf("the books: %+v", i)
	}
}

// Metadata chooses the faults of the other steps.
func TestMetadataChoosesFaultsOfSteps(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{})
	held := create(t, s, "pm_card_visa", "capture_method", "manual",
		"metadata[sim_capture]", "reset_after", "metadata[sim_refund]", "500_before")
	post(t, s.URL(), held+"/confirm", "", "")
	waiting := create(t, s, "pm_card_visa", "metadata[sim_cancel]", "garbage")
	refund := "payment_intent=" + filepath.Base(held)
	for _, step := range []struct {
		path, key, form string
		says            func(reply, error) bool
	}{
		{held + "/capture", "c", "", isReset},
		{held + "/capture", "c", "", hasStatus(200)},
		{"/v1/refunds", "r1", refund, hasStatus(500)},
		{"/v1/refunds", "r2", refund + "&amount=1", hasStatus(200)},
		{"/v1/refunds", "r3", refund + "&metadata[sim_refund]=429", hasStatus(200)}, // only once
		{waiting + "/cancel", "x", "", hasStatus(200)},
		{waiting + "/cancel", "x", "", hasStatus(200)},
		{intents, "", form("pm_card_visa", "metadata[sim_create]", "no"), hasStatus(400)},
	} {
		r, err := send(t.Context(), s.URL(), step.path, step.key, step.form)
		if !step.says(r, err) {
			t.Errorf("%s %s: %d %s, %v", step.path, step.key, r.status, r.body, err)
		}
	}
	if i := find(t, s, held); i.TimesTaken != 1 || i.AmountRefunded != 1000 {
		t.Errorf("the books: %+v", i)
	}
}

// The same seed gives the same faults, so that a run can be repeated.
func TestSeedRepeatsFaults(t *testing.T) {
	t.Parallel()
	const half = `"before": {"500": 0.25, "429": 0.25}, "after": {"500": 0.25, "reset": 0.25}`
	run := func(seed int) (statuses []int) {
		s := start(t, simulator.Options{})
		faults := fmt.Sprintf(`{"seed": %d, "steps": {"create": {%s, "latency_ms": 1}}}`,
			seed, half)
		if r := page(t, s.URL(), "/faults", faults); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		for i := range 30 {
			r, err := send(t.Context(), s.URL(), intents, fmt.Sprint(i), form("pm_card_visa"))
			if err != nil && !isReset(r, err) {
				t.Error(err)
			}
			statuses = append(statuses, r.status)
		}
		return statuses
	}
	one, two, other := fmt.Sprint(run(1)), fmt.Sprint(run(1)), fmt.Sprint(run(2))
	if one != two || one == other {
		t.Errorf("seed 1: %s\n again: %s\nseed 2: %s", one, two, other)
	}
	for _, status := range []string{" 0 ", " 200 ", " 429 ", " 500 "} {
		if !strings.Contains(one, status) {
			t.Errorf("no%sin %s", status, one)
		}
	}
}

func TestDownRefusesUntilItIsUp(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{})
	setFaults(t, s, simulator.Faults{Down: true})
	if r := post(t, s.URL(), intents, "k", form("pm_card_visa")); r.status != 503 {
		t.Errorf("down: %d %s", r.status, r.body)
	}
	if r := get(t, s.URL(), "/faults"); !strings.Contains(r.body, `"down":true`) {
		t.Errorf("the faults: %s", r.body)
	}
	page(t, s.URL(), "/faults", "{}")
	if r := post(t, s.URL(), intents, "k", form("pm_card_visa")); r.status != 200 {
		t.Errorf("up: %d %s", r.status, r.body)
	}
	for _, wrong := range []string{
		`{"steps": {"charge": {}}}`, `{"steps": {"create": {"before": {"500": 1.5}}}}`,
		`{"stepps": {}}`, `{"hang_ms": -1}`, `x`,
	} {
		if r := page(t, s.URL(), "/faults", wrong); r.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", wrong, r.status, r.body)
		}
	}
}

// A person at the dashboard acts without keys and without metadata.
func TestDashboard(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{})
	paid := charge(t, s, "pm_card_visa")
	held := filepath.Base(create(t, s, "pm_card_visa", "capture_method", "manual"))
	post(t, s.URL(), intents+"/"+held+"/confirm", "", "")
	waiting := filepath.Base(create(t, s, "pm_card_visa"))
	for _, press := range []struct{ page, intent, more, says string }{
		{"refunds", paid, `, "amount": 300`, `"amount":300`},
		{"disputes", paid, `, "amount": 700`, `"status":"needs_response"`},
		{"captures", held, `, "amount": 900`, `"amount_received":900`},
		{"cancels", waiting, "", `"status":"canceled"`},
		{"cancels", waiting, "", `"code":"payment_intent_unexpected_state"`},
		{"disputes", waiting, "", `"code":"payment_intent_unexpected_state"`},
	} {
		r := page(t, s.URL(), "/dashboard/"+press.page,
			fmt.Sprintf(`{"payment_intent": %q%s}`, press.intent, press.more))
		if !strings.Contains(r.body, press.says) {
			t.Errorf("%s: %d %s", press.page, r.status, r.body)
		}
	}
	var all simulator.Books
	if err := json.Unmarshal([]byte(get(t, s.URL(), "/books").body), &all); err != nil {
		t.Fatal(err)
	}
	first := all.Intents[0]
	if first.AmountRefunded != 300 || len(first.Refunds[0].Metadata) != 0 ||
		first.Disputes[0].Amount != 700 || all.Intents[1].TimesTaken != 1 ||
		all.Intents[2].Status != "canceled" {
		t.Errorf("the books: %+v", all)
	}
}
