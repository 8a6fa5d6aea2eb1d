package simulator

// card is what a payment method does.
type card struct {
	number  string // the brand, and the last four digits
	brand   string
	outcome outcome
	decline decline // of outcomeDeclined
	refunds string  // the status that its refunds get at last; "": succeeded at once
	fault   fault   // at the first confirmation of an intent
}

type outcome int

const (
	outcomeSucceeded outcome = iota
	outcomeDeclined
	outcomeAuthentication
	outcomeDisputed
	outcomeProcessing
)

type decline struct{ code, declineCode, message string }

var (
	declinedGeneric = decline{"card_declined", "generic_decline", "Your card was declined."}

	declinedWithoutAuthentication = decline{
		"authentication_required", "authentication_required",
		"Your card was declined. This transaction requires authentication.",
	}
)

// fault is a misbehaviour of one request.
type fault string

const (
	faultNone        fault = ""
	faultHold        fault = "timeout" // executes, and answers when the client has gone
	fault500Before   fault = "500_before"
	fault500After    fault = "500_after"
	faultResetBefore fault = "reset_before"
	faultResetAfter  fault = "reset_after"
	faultSlow        fault = "slow"
	faultDrip        fault = "slow_drip"
	faultGarbage     fault = "garbage"
	faultHuge        fault = "10mb"
	fault429         fault = "429"
	fault409         fault = "409"
	faultHang        fault = "hang" // does nothing for long, then executes
)

// cards are the payment methods. Those with pm_sim are the simulator's own, the others
// have the names and outcomes of Stripe's test cards.
var cards = map[string]card{
	"pm_card_visa":                   {},
	"pm_card_mastercard":             {brand: "mastercard", number: "4444"},
	"pm_card_chargeDeclined":         declining(declinedGeneric),
	"pm_card_authenticationRequired": {number: "3184", outcome: outcomeAuthentication},
	"pm_card_createDispute":          {number: "0259", outcome: outcomeDisputed},
	"pm_card_pendingRefund":          {number: "7726", refunds: refundSucceeded},
	"pm_card_refundFail":             {number: "5126", refunds: refundFailed},
	"pm_card_chargeDeclinedInsufficientFunds": declining(decline{
		"card_declined", "insufficient_funds", "Your card has insufficient funds.",
	}),
	"pm_card_chargeDeclinedFraudulent": declining(decline{
		"card_declined", "fraudulent", "Your card was declined.",
	}),
	"pm_card_chargeDeclinedExpiredCard": declining(decline{
		"expired_card", "expired_card", "Your card has expired.",
	}),
	"pm_card_chargeDeclinedIncorrectCvc": declining(decline{
		"incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect.",
	}),
	"pm_card_chargeDeclinedProcessingError": declining(decline{
		"processing_error", "processing_error",
		"An error occurred while processing your card. Try again in a little bit.",
	}),

	"pm_sim_processing":           {outcome: outcomeProcessing},
	"pm_sim_timeout_then_success": {fault: faultHold},
	"pm_sim_timeout_then_decline": {
		fault: faultHold, outcome: outcomeDeclined, decline: declinedGeneric,
	},
	"pm_sim_500_after_charge":    {fault: fault500After},
	"pm_sim_500_before_charge":   {fault: fault500Before},
	"pm_sim_reset_after_charge":  {fault: faultResetAfter},
	"pm_sim_reset_before_charge": {fault: faultResetBefore},
	"pm_sim_slow":                {fault: faultSlow},
	"pm_sim_slow_drip":           {fault: faultDrip},
	"pm_sim_garbage":             {fault: faultGarbage},
	"pm_sim_10mb":                {fault: faultHuge},
	"pm_sim_429":                 {fault: fault429},
	"pm_sim_409":                 {fault: fault409},
	"pm_sim_hang":                {fault: faultHang},
}

func declining(d decline) card {
	return card{number: "0002", outcome: outcomeDeclined, decline: d}
}

func (c card) wire() wireCard {
	w := wireCard{
		Brand: "visa", Country: "US", ExpMonth: 12, ExpYear: 2034, Funding: "credit",
		Last4: "4242", Network: "visa",
	}
	if c.brand != "" {
		w.Brand, w.Network = c.brand, c.brand
	}
	if c.number != "" {
		w.Last4 = c.number
	}
	return w
}
