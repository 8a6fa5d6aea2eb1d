package simulator_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

func replayed(r reply) bool { return r.header.Get("Idempotent-Replayed") == "true" }

func TestKeyReplaysFirstAnswer(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{})
	for _, card := range []string{"pm_card_visa", "pm_card_chargeDeclined"} {
		request := form(card, "confirm", "true")
		first := post(t, s.URL(), intents, card, request)
		again := post(t, s.URL(), intents, card, request)
		if replayed(first) || !replayed(again) || first.body != again.body ||
			first.status != again.status ||
			again.header.Get("Original-Request") != first.header.Get("Request-Id") {
			t.Errorf("%s: %d %s, then %d %s", card, first.status, first.body, again.status,
				again.body)
		}
	}
	if all := books(t, s).Intents; len(all) != 2 {
		t.Errorf("the books: %+v", all)
	}
}

func TestKeyBelongsToOneRequest(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{})
	post(t, s.URL(), intents, "k", form("pm_card_visa"))
	path := create(t, s, "pm_card_visa")
	for _, r := range []reply{
		post(t, s.URL(), intents, "k", form("pm_card_visa", "amount", "1001")),
		post(t, s.URL(), path+"/confirm", "k", form("pm_card_visa")),
	} {
		if r.status != 400 || r.Error.Type != "idempotency_error" {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	if all := books(t, s).Intents; len(all) != 2 || all[1].TimesTaken != 0 {
		t.Errorf("the books: %+v", all)
	}
}

// Requests under one key come at once: one is executed, and the others are told to wait.
func TestKeyIsExecutedOnce(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{})
	request := form("pm_sim_hang", "confirm", "true")
	var rivals sync.WaitGroup
	for range 8 {
		rivals.Go(func() {
			r, err := send(t.Context(), s.URL(), intents, "k", request)
			if err != nil || r.status != 200 && r.Error.Code != "idempotency_key_in_use" ||
				r.status != 200 && r.status != http.StatusConflict {
				t.Errorf("%d %s, %v", r.status, r.body, err)
			}
		})
	}
	rivals.Wait()
	if i := only(t, s); i.TimesTaken != 1 {
		t.Errorf("the books: %+v", i)
	}
}

// Stripe stores no answer to a request that was never executed.
func TestRefusedRequestLeavesKeyFree(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{})
	post(t, s.URL(), intents, "k", "amount=0&currency=usd")
	setFaults(t, s, simulator.Faults{Steps: map[simulator.Step]simulator.StepFaults{
		simulator.StepCreate: {Before: simulator.Before{Error429: 1}},
	}})
	if r := post(t, s.URL(), intents, "k", form("pm_card_visa")); r.status != 429 {
		t.Errorf("%d %s", r.status, r.body)
	}
	setFaults(t, s, simulator.Faults{})
	r := post(t, s.URL(), intents, "k", form("pm_card_visa"))
	if r.status != 200 || replayed(r) {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// A failure of the processor's own is stored like any other answer.
func TestStored500IsReplayed(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{})
	for card, taken := range map[string]int{
		"pm_sim_500_before_charge": 0, "pm_sim_500_after_charge": 1,
	} {
		path := create(t, s, card)
		for try := range 2 {
			r := post(t, s.URL(), path+"/confirm", card, "")
			if r.status != 500 || r.Error.Type != "api_error" || replayed(r) != (try == 1) {
				t.Errorf("%s, try %d: %d %s", card, try, r.status, r.body)
			}
		}
		for _, i := range books(t, s).Intents {
			if strings.HasSuffix(path, i.ID) && i.TimesTaken != taken {
				t.Errorf("%s: %+v", card, i)
			}
		}
		r := post(t, s.URL(), path+"/confirm", "other "+card, "")
		if (r.status == 200) != (taken == 0) {
			t.Errorf("%s, another key: %d %s", card, r.status, r.body)
		}
	}
}

func TestKeyIsForgottenAfterWindow(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{KeyWindow: 300 * time.Millisecond})
	first := post(t, s.URL(), intents, "k", form("pm_card_visa"))
	await.Until(t, 10*time.Second, "the key is executed again", func() bool {
		r := post(t, s.URL(), intents, "k", form("pm_card_visa"))
		return r.status == 200 && r.ID != first.ID && !replayed(r)
	})
}
