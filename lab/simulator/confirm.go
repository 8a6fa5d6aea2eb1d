package simulator

import "net/http"

// confirmIntent is POST /v1/payment_intents/{id}/confirm.
func confirmIntent(e *entry, c *call) (any, error) {
	err := c.params.allow("payment_method", "return_url", "off_session", "expand",
		"error_on_requires_action", "payment_method_options", "use_stripe_sdk")
	if err != nil {
		return nil, err
	}
	i, err := findIntent(e, c.id)
	if err != nil {
		return nil, err
	}
	switch i.Status {
	case statusRequiresMethod, statusRequiresConfirmation, statusRequiresAction:
	default:
		return nil, conflicting(e, i, "confirm")
	}
	if err := i.choose(c.params.text("payment_method")); err != nil {
		return nil, err
	}
	return confirm(e, &i, c.params)
}

// confirm charges the intent's card, as far as the card lets it.
func confirm(e *entry, i *intent, p params) (any, error) {
	if i.PaymentMethod == "" {
		return nil, conflicting(e, *i, "confirm")
	}
	if i.Redirects && p.text("return_url") == "" {
		return nil, invalid("return_url", "", "This PaymentIntent is configured to accept "+
			"payment methods enabled in your Dashboard. Because some of these payment methods "+
			"might redirect your customer off of your page, you must provide a `return_url`.")
	}
	i.LastError = nil
	used := cards[i.PaymentMethod]
	switch used.outcome {
	case outcomeDeclined:
		return i.fail(e, used.decline)
	case outcomeAuthentication:
		if p.flag("off_session") || p.flag("error_on_requires_action") {
			return i.fail(e, declinedWithoutAuthentication)
		}
		i.Status = statusRequiresAction
		return i.save(e, "payment_intent.requires_action", p)
	case outcomeProcessing:
		i.Status = statusProcessing
		e.later = append(e.later, i.ID)
		return i.save(e, "payment_intent.processing", p)
	case outcomeSucceeded, outcomeDisputed:
	}
	return i.succeed(e, p)
}

// succeed charges the card, or holds the money if the capture is manual.
func (i *intent) succeed(e *entry, p params) (any, error) {
	if _, err := i.charge(e, decline{}); err != nil {
		return nil, err
	}
	if i.CaptureMethod == captureManual {
		i.Status, i.Capturable = statusRequiresCapture, i.Amount
		return i.save(e, "payment_intent.amount_capturable_updated", p)
	}
	if err := i.take(e, i.Amount); err != nil {
		return nil, err
	}
	if cards[i.PaymentMethod].outcome == outcomeDisputed {
		if _, err := i.dispute(e, i.Amount, "fraudulent"); err != nil {
			return nil, err
		}
	}
	return i.save(e, "payment_intent.succeeded", p)
}

// charge writes a charge's row, and makes it the latest one of the intent.
func (i *intent) charge(e *entry, d decline) (c charge, err error) {
	c = charge{
		Intent: i.ID, Amount: i.Amount, Currency: i.Currency, Card: i.PaymentMethod,
		Created: e.now.Unix(), FailureCode: d.code, DeclineCode: d.declineCode,
		FailureMessage: d.message,
	}
	if c.ID, err = newID(e, "ch", bucketCharges); err != nil {
		return c, err
	}
	i.LatestCharge = c.ID
	return c, put(e, bucketCharges, c.ID, c)
}

// fail records a decline. The intent then waits for another payment method.
func (i *intent) fail(e *entry, d decline) (any, error) {
	c, err := i.charge(e, d)
	if err != nil {
		return nil, err
	}
	i.LastError = &wireError{
		Type: typeCard, Code: d.code, DeclineCode: d.declineCode, Message: d.message,
		Charge: c.ID, PaymentMethod: &wirePaymentMethod{
			ID: i.PaymentMethod, Object: "payment_method", Type: "card",
			Card: cards[i.PaymentMethod].wire(),
		},
	}
	i.Status, i.PaymentMethod = statusRequiresMethod, ""
	if _, err := i.save(e, "payment_intent.payment_failed", nil); err != nil {
		return nil, err
	}
	w, err := i.wire(e)
	if err != nil {
		return nil, err
	}
	body := *i.LastError
	body.PaymentIntent = &w
	return nil, &refusal{status: http.StatusPaymentRequired, body: body, executed: true}
}
