package simulator

import (
	"errors"
	"slices"
)

// The statuses of an intent.
const (
	statusRequiresMethod       = "requires_payment_method"
	statusRequiresConfirmation = "requires_confirmation"
	statusRequiresAction       = "requires_action"
	statusProcessing           = "processing"
	statusRequiresCapture      = "requires_capture"
	statusSucceeded            = "succeeded"
	statusCanceled             = "canceled"
)

const captureManual = "manual"

// createIntent is POST /v1/payment_intents.
func createIntent(e *entry, c *call) (any, error) {
	i, err := readIntent(e, c.params)
	if err != nil {
		return nil, err
	}
	if c.params.flag("confirm") {
		return confirm(e, &i, c.params)
	}
	return i.wire(e, c.params.list("expand")...)
}

// readIntent makes the intent of a request.
func readIntent(e *entry, p params) (i intent, err error) {
	err = p.allow("amount", "currency", "payment_method", "capture_method", "confirm",
		"payment_method_types", "automatic_payment_methods", "metadata", "expand",
		"description", "off_session", "error_on_requires_action", "return_url",
		"confirmation_method", "statement_descriptor_suffix", "payment_method_options",
		"use_stripe_sdk")
	if err != nil {
		return i, err
	}
	i = intent{
		Created: e.now.Unix(), Status: statusRequiresMethod, CaptureMethod: "automatic_async",
		Description: p.text("description"), MethodTypes: p.list("payment_method_types"),
	}
	if i.Amount, i.Currency, err = p.amount(); err != nil {
		return i, err
	}
	if i.Metadata, err = p.metadata(); err != nil {
		return i, err
	}
	if method := p.text("capture_method"); method != "" {
		i.CaptureMethod = method
	}
	if !slices.Contains([]string{"automatic", "automatic_async", captureManual}, i.CaptureMethod) {
		return i, invalid("capture_method", "", "Invalid capture_method: must be one of "+
			"automatic, automatic_async, or manual")
	}
	// Without a list of types, the dashboard's types apply. Some of them redirect.
	i.Redirects = len(i.MethodTypes) == 0 &&
		p.text("automatic_payment_methods[allow_redirects]") != "never"
	if len(i.MethodTypes) == 0 {
		i.MethodTypes = []string{"card"}
	}
	if i.ID, err = newID(e, "pi", bucketIntents); err != nil {
		return i, err
	}
	if err := i.choose(p.text("payment_method")); err != nil {
		return i, err
	}
	return i, put(e, bucketIntents, i.ID, i)
}

// choose sets the payment method, if the request names one.
func (i *intent) choose(method string) error {
	if method == "" {
		return nil
	}
	if _, known := cards[method]; !known {
		return invalid("payment_method", "resource_missing", "No such PaymentMethod: '%s'", method)
	}
	i.PaymentMethod, i.Status = method, statusRequiresConfirmation
	return nil
}

// findIntent reads the intent of a path.
func findIntent(e *entry, id string) (intent, error) {
	i, err := get[intent](e, bucketIntents, id)
	if errors.Is(err, errMissing) {
		return i, missing("intent", "payment_intent", id)
	}
	return i, err
}

// retrieveIntent is GET /v1/payment_intents/{id}.
func retrieveIntent(e *entry, c *call) (any, error) {
	if err := c.params.allow("expand", "client_secret"); err != nil {
		return nil, err
	}
	i, err := findIntent(e, c.id)
	if err != nil {
		return nil, err
	}
	return i.wire(e, c.params.list("expand")...)
}

// captureIntent is POST /v1/payment_intents/{id}/capture. It takes held money, once.
func captureIntent(e *entry, c *call) (any, error) {
	if err := c.params.allow("amount_to_capture", "expand"); err != nil {
		return nil, err
	}
	amount, err := c.params.integer("amount_to_capture")
	if err != nil {
		return nil, err
	}
	i, err := findIntent(e, c.id)
	if err != nil {
		return nil, err
	}
	if i.Status != statusRequiresCapture {
		return nil, conflicting(e, i, "capture")
	}
	if amount == 0 {
		amount = i.Capturable
	}
	if amount > i.Capturable {
		return nil, invalid("amount_to_capture", "amount_too_large", "The payment could not be "+
			"captured because the requested capture amount is greater than the amount you can "+
			"capture for this charge.")
	}
	rest := i.Capturable - amount
	if err := i.take(e, amount); err != nil {
		return nil, err
	}
	if rest > 0 {
		if _, err := i.release(e, rest); err != nil {
			return nil, err
		}
	}
	return i.save(e, "payment_intent.succeeded", c.params)
}

// take takes the money of the intent's latest charge, and records that as an execution.
func (i *intent) take(e *entry, amount int64) error {
	paid, err := get[charge](e, bucketCharges, i.LatestCharge)
	if err != nil {
		return err
	}
	paid.Captured, paid.AmountCaptured = true, amount
	if err := put(e, bucketCharges, paid.ID, paid); err != nil {
		return err
	}
	t := taking{Intent: i.ID, Charge: paid.ID, Amount: amount, Created: e.now.Unix()}
	if t.ID, err = newID(e, "tk", bucketTakings); err != nil {
		return err
	}
	i.Status, i.Received, i.Capturable = statusSucceeded, amount, 0
	return put(e, bucketTakings, t.ID, t)
}

// cancelIntent is POST /v1/payment_intents/{id}/cancel. A hold ends with it.
func cancelIntent(e *entry, c *call) (any, error) {
	if err := c.params.allow("cancellation_reason", "expand"); err != nil {
		return nil, err
	}
	reason := c.params.text("cancellation_reason")
	if !slices.Contains([]string{
		"", "duplicate", "fraudulent", "requested_by_customer", "abandoned",
	}, reason) {
		return nil, invalid("cancellation_reason", "", "Invalid cancellation_reason: %s", reason)
	}
	i, err := findIntent(e, c.id)
	if err != nil {
		return nil, err
	}
	if i.Status == statusSucceeded || i.Status == statusCanceled {
		return nil, conflicting(e, i, "cancel")
	}
	if i.Status == statusRequiresCapture {
		paid, err := i.release(e, i.Capturable)
		if err != nil {
			return nil, err
		}
		if err := e.emit("charge.refunded", paid.wire()); err != nil {
			return nil, err
		}
	}
	i.Status, i.Capturable, i.CancelReason = statusCanceled, 0, reason
	i.CanceledAt = e.now.Unix()
	return i.save(e, "payment_intent.canceled", c.params)
}

// save writes the intent and its event, and returns the intent for the answer.
func (i *intent) save(e *entry, event string, p params) (any, error) {
	if err := put(e, bucketIntents, i.ID, *i); err != nil {
		return nil, err
	}
	plain, err := i.wire(e)
	if err != nil {
		return nil, err
	}
	if err := e.emit(event, plain); err != nil {
		return nil, err
	}
	return i.wire(e, p.list("expand")...)
}
