package cards

import (
	"testing"

	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

// The rows say what an attempt of 10.00 does next. Only a final state of the processor
// settles anything, and only the amount that was asked for.
func TestPlanFollowsTheProcessor(t *testing.T) {
	t.Parallel()
	const (
		method, confirmation, action3DS = stripe.RequiresPaymentMethod,
			stripe.RequiresConfirmation,
			stripe.RequiresAction
		processing, held, succeeded, canceled = stripe.Processing, stripe.RequiresCapture,
			stripe.Succeeded, stripe.Canceled
	)
	for _, row := range []struct {
		operation string
		status    stripe.Status
		minor     int64  // received, or held
		noted     string // the decline code of the attempt
		want      action
	}{
		{"charge", confirmation, 0, "", action{step: "confirm"}},
		{"charge", confirmation, 0, "card_declined", cancelFor("card_declined")},
		{"charge", method, 0, "", cancelFor("expired_card")},
		{"charge", method, 0, "incorrect_cvc", cancelFor("incorrect_cvc")},
		{"charge", action3DS, 0, "", cancelFor("authentication_required")},
		{"charge", processing, 0, "", waiting},
		{"charge", held, 1000, "", reviewing},
		{"charge", succeeded, 1000, "", action{settle: payments.StatusSucceeded}},
		{"charge", succeeded, 1000, "card_declined", action{settle: payments.StatusSucceeded}},
		{"charge", succeeded, 999, "", reviewing},
		{"charge", canceled, 0, "", declinedFor("expired_card")},
		{"charge", canceled, 0, "incorrect_cvc", declinedFor("incorrect_cvc")},
		{"charge", "of_next_year", 0, "", waiting},

		{"authorize", confirmation, 0, "", action{step: "confirm"}},
		{"authorize", method, 0, "", cancelFor("expired_card")},
		{"authorize", held, 1000, "", action{settle: payments.StatusAuthorized}},
		{"authorize", held, 999, "", reviewing},
		{"authorize", succeeded, 1000, "", reviewing},
		{"authorize", canceled, 0, "", declinedFor("expired_card")},

		{"capture", held, 1000, "", action{step: "capture"}},
		{"capture", succeeded, 1000, "", action{settle: payments.StatusSucceeded}},
		{"capture", succeeded, 999, "", reviewing},
		{"capture", canceled, 0, "", action{settle: payments.StatusCanceled}},
		{"capture", confirmation, 0, "", reviewing},
		{"capture", processing, 0, "", waiting},
		{"capture", "of_next_year", 0, "", waiting},

		{"cancel", held, 1000, "", action{step: "cancel"}},
		{"cancel", processing, 0, "", action{step: "cancel"}},
		{"cancel", canceled, 0, "", action{settle: payments.StatusCanceled}},
		{"cancel", succeeded, 1000, "", reviewing},
		{"expire", held, 1000, "", action{step: "cancel"}},
		{"expire", canceled, 0, "", action{settle: payments.StatusCanceled}},
		{"expire", succeeded, 1000, "", reviewing},
	} {
		attempt := &Attempt{
			Operation: row.operation, Amount: cents(1000), DeclineCode: row.noted,
		}
		got := plan(attempt, &stripe.Intent{
			Status: row.status, AmountReceived: cents(row.minor),
			AmountCapturable: cents(row.minor),
			DeclineCode:      "expired_card",
		})
		if !row.want.like(got) {
			t.Errorf("%s of an intent that is %s, %d, noted %q: %+v, want %+v", row.operation,
				row.status, row.minor, row.noted, got, row.want)
		}
	}
}

func TestPlanOfRefundFollowsTheProcessor(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		status stripe.RefundStatus
		minor  int64
		want   action
	}{
		{stripe.RefundSucceeded, 1000, action{settle: payments.StatusSucceeded}},
		{stripe.RefundSucceeded, 999, reviewing},
		{stripe.RefundPending, 1000, waiting},
		{stripe.RefundRequiresAction, 1000, waiting},
		{stripe.RefundFailed, 1000, declinedFor("processing_error")},
		{stripe.RefundCanceled, 1000, declinedFor("processing_error")},
		{"of_next_year", 1000, waiting},
	} {
		got := planRefund(&Attempt{Amount: cents(1000)}, &stripe.Refund{
			Status: row.status, Amount: cents(row.minor),
		})
		if !row.want.like(got) {
			t.Errorf("%s, %d: %+v, want %+v", row.status, row.minor, got, row.want)
		}
	}
}

var waiting, reviewing = action{wait: "any reason"}, action{review: "any reason"}

func cancelFor(code string) action { return action{step: "cancel", decline: code} }

func declinedFor(code string) action {
	return action{settle: payments.StatusDeclined, decline: code}
}

// like compares two actions, but not the words of their reasons.
func (a action) like(b action) bool {
	return a.step == b.step && a.settle == b.settle && a.decline == b.decline &&
		(a.wait == "") == (b.wait == "") && (a.review == "") == (b.review == "")
}
