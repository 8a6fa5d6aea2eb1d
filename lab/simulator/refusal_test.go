package simulator_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

func TestCardsDecline(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{})
	for card, want := range map[string]string{
		"pm_card_chargeDeclined":                  "card_declined generic_decline",
		"pm_card_chargeDeclinedInsufficientFunds": "card_declined insufficient_funds",
		"pm_card_chargeDeclinedExpiredCard":       "expired_card expired_card",
		"pm_card_chargeDeclinedIncorrectCvc":      "incorrect_cvc incorrect_cvc",
		"pm_card_chargeDeclinedFraudulent":        "card_declined fraudulent",
		"pm_card_chargeDeclinedProcessingError":   "processing_error processing_error",
	} {
		path := create(t, s, card)
		r := post(t, s.URL(), path+"/confirm", "", "")
		if got := r.Error.Code + " " + r.Error.DeclineCode; r.status != 402 || got != want ||
			r.Error.Type != "card_error" ||
			r.Error.PaymentIntent.Status != "requires_payment_method" {
			t.Errorf("%s: %d %s", card, r.status, r.body)
		}
		seen := get(t, s.URL(), path)
		if !strings.Contains(seen.body, `"last_payment_error":{"charge":"ch_`) {
			t.Errorf("%s: %s", card, seen.body)
		}
		r = post(t, s.URL(), path+"/confirm", "", "payment_method=pm_card_visa")
		if r.Status != "succeeded" || strings.Contains(r.body, "last_payment_error\":{") {
			t.Errorf("%s, then another card: %d %s", card, r.status, r.body)
		}
	}
}

func TestCardThatWantsAuthentication(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{})
	path := create(t, s, "pm_card_authenticationRequired")
	r := post(t, s.URL(), path+"/confirm", "", "")
	if r.status != 200 || r.Status != "requires_action" ||
		!strings.Contains(r.body, `"next_action":{`) {
		t.Errorf("on session: %d %s", r.status, r.body)
	}
	r = post(t, s.URL(), path+"/confirm", "", "off_session=true")
	if r.status != 402 || r.Error.DeclineCode != "authentication_required" {
		t.Errorf("off session: %d %s", r.status, r.body)
	}
	if r = post(t, s.URL(), path+"/cancel", "", ""); r.Status != "canceled" {
		t.Errorf("canceled: %d %s", r.status, r.body)
	}
}

// A final status stays. The error shows the intent, so that the caller sees which one.
func TestFinalStatusRefuses(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{})
	paid := intents + "/" + charge(t, s, "pm_card_visa")
	canceled := create(t, s, "pm_card_visa")
	post(t, s.URL(), canceled+"/cancel", "", "")
	for path, status := range map[string]string{paid: "succeeded", canceled: "canceled"} {
		for _, operation := range []string{"/confirm", "/capture", "/cancel"} {
			r := post(t, s.URL(), path+operation, "", "")
			if r.status != 400 || r.Error.Code != "payment_intent_unexpected_state" ||
				r.Error.PaymentIntent.Status != status {
				t.Errorf("%s of one that %s: %d %s", operation, status, r.status, r.body)
			}
		}
	}
}

func TestRefundsStayWithinWhatWasTaken(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{})
	id := charge(t, s, "pm_card_visa")
	refund := func(more string) reply {
		return post(t, s.URL(), "/v1/refunds", "", "payment_intent="+id+more)
	}
	for _, step := range []struct {
		more, code, param string
		status            int
	}{
		{"&amount=1001", "", "amount", 400},
		{"&amount=600", "", "", 200},
		{"&amount=401", "", "amount", 400},
		{"", "", "", 200}, // the rest
		{"&amount=1", "charge_already_refunded", "", 400},
	} {
		r := refund(step.more)
		if r.status != step.status || r.Error.Code != step.code || r.Error.Param != step.param {
			t.Errorf("refund %q: %d %s", step.more, r.status, r.body)
		}
	}
	held := post(t, s.URL(), intents, "", form("pm_card_visa", "confirm", "true",
		"capture_method", "manual"))
	r := post(t, s.URL(), "/v1/refunds", "", "payment_intent="+held.ID)
	if r.status != 400 {
		t.Errorf("refund of held money: %d %s", r.status, r.body)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{})
	held := post(t, s.URL(), intents, "", form("pm_card_visa", "confirm", "true",
		"capture_method", "manual")).ID
	for _, row := range []struct {
		path, form  string
		status      int
		code, param string
	}{
		{intents, "currency=usd", 400, "parameter_missing", "amount"},
		{intents, "amount=1", 400, "parameter_missing", "currency"},
		{intents, "amount=x&currency=usd", 400, "parameter_invalid_integer", "amount"},
		{intents, "amount=0&currency=usd", 400, "parameter_invalid_integer", "amount"},
		{intents, "amount=100000000&currency=usd", 400, "amount_too_large", "amount"},
		{intents, "amount=10000000000&currency=jpy", 400, "amount_too_large", "amount"},
		{intents, "amount=1001&currency=kwd", 400, "", "amount"},
		{intents, "amount=1&currency=dollars", 400, "", "currency"},
		{intents, form("pm_nobody"), 400, "resource_missing", "payment_method"},
		{intents, form("pm_card_visa", "amuont", "1"), 400, "parameter_unknown", "amuont"},
		{intents, form("pm_card_visa", "capture_method", "no"), 400, "", "capture_method"},
		{intents, form("", "confirm", "true"), 400, "payment_intent_unexpected_state", ""},
		{
			intents, "amount=1&currency=usd&confirm=true&payment_method=pm_card_visa", 400, "",
			"return_url",
		},
		{
			intents, form("pm_card_visa", "metadata[a]", strings.Repeat("b", 501)), 400, "",
			"metadata[a]",
		},
		{intents + "/pi_no/confirm", "", 404, "resource_missing", "intent"},
		{
			intents + "/" + held + "/capture", "amount_to_capture=1001", 400, "amount_too_large",
			"amount_to_capture",
		},
		{
			intents + "/" + held + "/cancel", "cancellation_reason=no", 400, "",
			"cancellation_reason",
		},
		{"/v1/refunds", "payment_intent=pi_no", 404, "resource_missing", "payment_intent"},
		{"/v1/customers", "", 404, "", ""},
	} {
		r := post(t, s.URL(), row.path, "", row.form)
		if r.status != row.status || r.Error.Code != row.code || r.Error.Param != row.param ||
			r.Error.Type != "invalid_request_error" {
			t.Errorf("%s %s: %d %s", row.path, row.form, r.status, r.body)
		}
	}
	if r := post(t, s.URL(), intents, "", "amount=9999999999&currency=JPY"); r.status != 200 {
		t.Errorf("ten digits of yen: %d %s", r.status, r.body)
	}
	if r := get(t, s.URL(), intents+"/pi_no"); r.status != 404 || r.Error.Param != "intent" {
		t.Errorf("an unknown intent: %d %s", r.status, r.body)
	}
}

func TestSecretIsRequired(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{Secret: "sk_test_other"})
	r := post(t, s.URL(), intents, "k", form("pm_card_visa"))
	if r.status != http.StatusUnauthorized || r.header.Get("Request-Id") == "" {
		t.Errorf("%d %s", r.status, r.body)
	}
}
