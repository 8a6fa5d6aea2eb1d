package simulator

import (
	"errors"
	"slices"
)

// The statuses of a refund.
const (
	refundPending   = "pending"
	refundSucceeded = "succeeded"
	refundFailed    = "failed"
)

// createRefund is POST /v1/refunds.
func createRefund(e *entry, c *call) (any, error) {
	err := c.params.allow("payment_intent", "amount", "reason", "metadata", "expand")
	if err != nil {
		return nil, err
	}
	reason := c.params.text("reason")
	if !slices.Contains([]string{"", "duplicate", "fraudulent", "requested_by_customer"}, reason) {
		return nil, invalid("reason", "", "Invalid reason: %s", reason)
	}
	metadata, err := c.params.metadata()
	if err != nil {
		return nil, err
	}
	amount, err := c.params.integer("amount")
	if err != nil {
		return nil, err
	}
	id := c.params.text("payment_intent")
	if id == "" {
		return nil, invalid("payment_intent", "parameter_missing",
			"One of the following params should be provided for this request: payment_intent.")
	}
	i, err := get[intent](e, bucketIntents, id)
	if errors.Is(err, errMissing) {
		return nil, missing("payment_intent", "payment_intent", id)
	}
	if err != nil {
		return nil, err
	}
	return i.refund(e, refund{Amount: amount, Reason: reason, Metadata: metadata})
}

// refund gives money back. The whole rest is refunded if no amount is given.
func (i *intent) refund(e *entry, r refund) (any, error) {
	if i.Status != statusSucceeded {
		return nil, stateRefusal("payment_intent", "", "This PaymentIntent (%s) does not have a "+
			"successful charge to refund.", i.ID)
	}
	paid, err := get[charge](e, bucketCharges, i.LatestCharge)
	if err != nil {
		return nil, err
	}
	rest := paid.AmountCaptured - paid.AmountRefunded
	if r.Amount == 0 {
		r.Amount = rest
	}
	switch {
	case rest == 0:
		return nil, stateRefusal("", "charge_already_refunded",
			"Charge %s has already been refunded.", paid.ID)
	case r.Amount > rest:
		return nil, stateRefusal("amount", "",
			"Refund amount (%d) is greater than unrefunded amount on charge (%d)", r.Amount, rest)
	}
	r.Intent, r.Charge, r.Currency, r.Created = i.ID, paid.ID, i.Currency, e.now.Unix()
	r.Status, r.NextStatus = refundSucceeded, cards[paid.Card].refunds
	if r.NextStatus == refundSucceeded {
		r.Status = refundPending
	}
	if r.ID, err = newID(e, "re", bucketRefunds); err != nil {
		return nil, err
	}
	if r.NextStatus != "" {
		e.later = append(e.later, r.ID)
	}
	if err := put(e, bucketRefunds, r.ID, r); err != nil {
		return nil, err
	}
	paid.AmountRefunded += r.Amount
	return r.wire(), errors.Join(
		put(e, bucketCharges, paid.ID, paid),
		e.emit("refund.created", r.wire()),
		e.emit("charge.refunded", paid.wire()),
	)
}

// release frees held money that is not captured. Stripe shows that as a refund, without
// metadata.
func (i *intent) release(e *entry, amount int64) (paid charge, err error) {
	if paid, err = get[charge](e, bucketCharges, i.LatestCharge); err != nil {
		return paid, err
	}
	paid.AmountReleased += amount
	r := refund{
		Intent: i.ID, Charge: paid.ID, Amount: amount, Currency: i.Currency,
		Status: refundSucceeded, Metadata: map[string]string{}, Created: e.now.Unix(),
		Released: true,
	}
	if r.ID, err = newID(e, "re", bucketRefunds); err != nil {
		return paid, err
	}
	return paid, errors.Join(put(e, bucketCharges, paid.ID, paid), put(e, bucketRefunds, r.ID, r))
}

// stateRefusal refuses a request because of an object's state. The answer is stored.
func stateRefusal(param, code, format string, args ...any) *refusal {
	r := invalid(param, code, format, args...)
	r.executed = true
	return r
}

// retrieveRefund is GET /v1/refunds/{id}.
func retrieveRefund(e *entry, c *call) (any, error) {
	if err := c.params.allow("expand"); err != nil {
		return nil, err
	}
	r, err := get[refund](e, bucketRefunds, c.id)
	if errors.Is(err, errMissing) {
		return nil, missing("refund", "refund", c.id)
	}
	return r.wire(), err
}

// dispute records that the cardholder disputes the latest charge.
func (i *intent) dispute(e *entry, amount int64, reason string) (d dispute, err error) {
	paid, err := get[charge](e, bucketCharges, i.LatestCharge)
	if err != nil {
		return d, err
	}
	paid.Disputed = true
	if err := put(e, bucketCharges, paid.ID, paid); err != nil {
		return d, err
	}
	d = dispute{
		Intent: i.ID, Charge: paid.ID, Amount: amount, Currency: i.Currency, Reason: reason,
		Status: "needs_response", Created: e.now.Unix(),
	}
	if d.ID, err = newID(e, "du", bucketDisputes); err != nil {
		return d, err
	}
	if err := put(e, bucketDisputes, d.ID, d); err != nil {
		return d, err
	}
	return d, e.emit("charge.dispute.created", d.wire())
}
