package stripe_test

import (
	"errors"
	"testing"

	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

func TestDeclineCodesBecomeOurs(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ code, declineCode, want string }{
		{"card_declined", "insufficient_funds", "insufficient_funds"},
		{"card_declined", "card_velocity_exceeded", "insufficient_funds"},
		{"card_declined", "generic_decline", "card_declined"},
		{"card_declined", "do_not_honor", "card_declined"},
		{"card_declined", "incorrect_zip", "card_declined"},
		{"card_declined", "a_new_code", "card_declined"},
		{"card_declined", "", "card_declined"},
		{"card_declined", "lost_card", "fraud_suspected"},
		{"card_declined", "stolen_card", "fraud_suspected"},
		{"card_declined", "fraudulent", "fraud_suspected"},
		{"card_declined", "try_again_later", "processing_error"},
		{"card_declined", "authentication_required", "authentication_required"},
		{"authentication_required", "authentication_required", "authentication_required"},
		{"payment_intent_authentication_failure", "", "authentication_required"},
		{"expired_card", "", "expired_card"},
		{"incorrect_cvc", "incorrect_cvc", "incorrect_cvc"},
		{"processing_error", "", "processing_error"},
		{"", "", "card_declined"},
	} {
		t.Run(row.code+" "+row.declineCode, func(t *testing.T) {
			p := newProcessor(t, answering(402, errorText(`"type":"card_error","code":"`+
				row.code+`","decline_code":"`+row.declineCode+`"`)))
			_, err := p.client().Confirm(t.Context(), "key", "pi_1")
			if e, _ := errors.AsType[*stripe.Error](err); e.DeclineCode != row.want {
				t.Errorf("got %q, want %q", e.DeclineCode, row.want)
			}
		})
	}
}
