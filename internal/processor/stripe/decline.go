package stripe

import (
	"strings"

	"github.com/stripe/stripe-go/v84"
)

// Our decline codes, as the API answers them.
const (
	DeclineInsufficientFunds      = "insufficient_funds"
	DeclineCardDeclined           = "card_declined"
	DeclineExpiredCard            = "expired_card"
	DeclineAuthenticationRequired = "authentication_required"
	DeclineIncorrectCVC           = "incorrect_cvc"
	DeclineFraudSuspected         = "fraud_suspected"
	DeclineProcessingError        = "processing_error"
)

// declines map Stripe's codes to the nearest of ours: its decline codes
// (https://docs.stripe.com/declines/codes), and the error codes of card errors that have
// no decline code (https://docs.stripe.com/error-codes). Any other code is
// DeclineCardDeclined.
var declines = map[string]string{}

func init() {
	for ours, stripes := range map[string]string{
		// "… exceeded the balance, credit limit, or transaction amount limit".
		DeclineInsufficientFunds: "insufficient_funds card_velocity_exceeded " +
			"withdrawal_count_limit_exceeded",
		DeclineExpiredCard: "expired_card invalid_expiry_month invalid_expiry_year",
		DeclineAuthenticationRequired: "authentication_required authentication_not_handled " +
			"mobile_device_authentication_required offline_pin_required " +
			"online_or_offline_pin_required payment_intent_authentication_failure",
		DeclineIncorrectCVC: "incorrect_cvc invalid_cvc",
		// A card that was reported lost or stolen, or that the issuer wants back.
		DeclineFraudSuspected: "fraudulent lost_card stolen_card pickup_card restricted_card " +
			"merchant_blacklist",
		// The same card may work later.
		DeclineProcessingError: "processing_error issuer_not_available reenter_transaction " +
			"try_again_later approve_with_id",
	} {
		for code := range strings.FieldsSeq(stripes) {
			declines[code] = ours
		}
	}
}

// declineCode is the code of ours for a card error.
func declineCode(failed *stripe.Error) string {
	code := string(failed.DeclineCode)
	if code == "" {
		code = string(failed.Code)
	}
	if ours, known := declines[code]; known {
		return ours
	}
	return DeclineCardDeclined
}
