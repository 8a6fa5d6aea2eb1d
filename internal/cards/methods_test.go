package cards

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/paymentsvc/paymentsvc/internal/payments"
)

// Each payment method of the simulator is charged by one instance and retried at another,
// all at the same moment.
func TestEveryPaymentMethodEndsOnce(t *testing.T) {
	tn := newTown(t)
	a, b := tn.instance().recovering(), tn.instance().recovering()
	var charges sync.WaitGroup
	for method, want := range map[string]string{
		"pm_card_visa":       "succeeded",
		"pm_card_mastercard": "succeeded",

		"pm_card_chargeDeclined":                  "card_declined",
		"pm_card_chargeDeclinedInsufficientFunds": "insufficient_funds",
		"pm_card_chargeDeclinedExpiredCard":       "expired_card",
		"pm_card_chargeDeclinedIncorrectCvc":      "incorrect_cvc",
		"pm_card_chargeDeclinedFraudulent":        "fraud_suspected",
		"pm_card_chargeDeclinedProcessingError":   "processing_error",
		"pm_card_authenticationRequired":          "authentication_required",
		"pm_card_createDispute":                   "succeeded",
		"pm_card_nobodyKnows":                     "processing_error", // no intent is made

		"pm_sim_timeout_then_success": "succeeded",
		"pm_sim_timeout_then_decline": "card_declined",
		"pm_sim_500_after_charge":     "succeeded",
		"pm_sim_500_before_charge":    "succeeded",
		"pm_sim_reset_after_charge":   "succeeded",
		"pm_sim_reset_before_charge":  "succeeded",
		"pm_sim_slow":                 "succeeded",
		"pm_sim_slow_drip":            "succeeded",
		"pm_sim_garbage":              "succeeded",
		"pm_sim_10mb":                 "succeeded",
		"pm_sim_429":                  "succeeded",
		"pm_sim_409":                  "succeeded",
		"pm_sim_processing":           "succeeded",
		"pm_sim_hang":                 "succeeded",
	} {
		charges.Go(func() {
			first, err := a.send(method, charging(byCard(method)), patience)
			if err != nil {
				t.Errorf("%s: %v", method, err)
				return
			}
			if got := outcomeOf(tn, b, first); got != want {
				t.Errorf("%s: %s, want %s", method, got, want)
			}
			again := b.finish(method, charging(byCard(method)))
			if string(again.Body) != string(first.Body) || again.Status != first.Status {
				t.Errorf("%s: the retry got %s, not %s", method, again.Body, first.Body)
			}
		})
	}
	charges.Wait()
}

// outcomeOf is the status of the payment of a reply, or its decline code.
func outcomeOf(tn *town, in *instance, reply payments.Reply) string {
	payment, err := in.payments.Get(tn.t.Context(), merchantID, reply.PaymentID)
	if err != nil {
		return err.Error()
	}
	status := map[payments.Status]int{
		payments.StatusSucceeded: 201, payments.StatusDeclined: 402,
	}[payment.Status]
	if reply.Status != status || !strings.Contains(string(reply.Body), payment.DeclineCode) {
		return fmt.Sprintf("%s, but the answer was %d %s", payment.Status, reply.Status,
			reply.Body)
	}
	if payment.Status == payments.StatusDeclined {
		return payment.DeclineCode
	}
	return string(payment.Status)
}
