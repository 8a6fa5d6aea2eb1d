package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// Charge is an intent to move money to an account, from another account or from a card:
// exactly one of SourceAccount and PaymentMethod is set. Its JSON is the request's body,
// so it can be stored with its key.
type Charge struct {
	Amount             int64             `json:"amount"` // in minor units: 4999 is 49.99 USD
	Currency           string            `json:"currency"`
	SourceAccount      string            `json:"source_account,omitempty"`
	PaymentMethod      string            `json:"payment_method,omitempty"` // a processor's token
	DestinationAccount string            `json:"destination_account"`
	Reference          string            `json:"reference,omitempty"` // unique; "": none
	Description        string            `json:"description,omitempty"`
	Metadata           map[string]string `json:"metadata,omitempty"`
}

// PaymentStatus is the state of a payment.
type PaymentStatus string

// The statuses of a payment.
const (
	PaymentAuthorized PaymentStatus = "authorized" // the money is held
	PaymentProcessing PaymentStatus = "processing" // the outcome is not known yet
	PaymentSucceeded  PaymentStatus = "succeeded"  // the money has moved
	PaymentDeclined   PaymentStatus = "declined"   // it will not move; DeclineCode says why
	PaymentCanceled   PaymentStatus = "canceled"   // it was held, and is free again
)

// Payment is one payment. Its amounts are in the currency's minor unit.
type Payment struct {
	ID                 string            `json:"id"`
	Status             PaymentStatus     `json:"status"`
	Amount             int64             `json:"amount"`
	Currency           string            `json:"currency"`
	SourceAccount      string            `json:"source_account"` // "": a card pays
	PaymentMethod      string            `json:"payment_method"` // "": an account pays
	DestinationAccount string            `json:"destination_account"`
	AmountCaptured     int64             `json:"amount_captured"`
	AmountRefunded     int64             `json:"amount_refunded"`
	Reference          string            `json:"reference"` // "": none
	Description        string            `json:"description"`
	Metadata           map[string]string `json:"metadata"`
	DeclineCode        string            `json:"decline_code"`
	AuthorizedUntil    time.Time         `json:"authorized_until"`    // zero unless authorized
	CancellationReason string            `json:"cancellation_reason"` // requested or expired
	CreatedAt          time.Time         `json:"created_at"`
	Version            int64             `json:"version"` // increases with every change
}

func (p *Payment) complete() bool { return p.ID != "" }

// PaymentReply is the answer to a request that made or changed a payment. It shows the
// payment as that request left it, also in a replay. GetPayment shows the current state.
type PaymentReply struct {
	Payment
	Reply
}

// Charge moves the money, once per key. If the source account cannot pay, or the card is
// declined, the error is a Declined *Error. While the card processor does not answer, the
// call goes on with its key. If that takes longer than the call may, the outcome is unknown.
func (c *Client) Charge(ctx context.Context, key Key, charge Charge) (*PaymentReply, error) {
	r, err := newKeyed("charging", key, charge, "payments")
	return c.payment(ctx, r, err)
}

// Authorize holds the money, once per key, until Capture moves it or Cancel frees it.
// At AuthorizedUntil the service frees it.
func (c *Client) Authorize(ctx context.Context, key Key, charge Charge) (*PaymentReply, error) {
	r, err := newKeyed("authorizing", key, struct {
		Charge
		Capture bool `json:"capture"`
	}{charge, false}, "payments")
	return c.payment(ctx, r, err)
}

// CaptureRequest is the amount to capture. The rest is freed.
type CaptureRequest struct {
	Amount *int64 `json:"amount,omitempty"` // nil: all of the authorized amount
}

// Capture moves the money that an authorization holds. A payment is captured once, under
// any key.
func (c *Client) Capture(
	ctx context.Context, key Key, paymentID string, request CaptureRequest,
) (*PaymentReply, error) {
	r, err := newKeyed("capturing", key, request, "payments", paymentID, "capture")
	return c.payment(ctx, r, err)
}

// Cancel frees the money that an authorization holds, once per key.
func (c *Client) Cancel(ctx context.Context, key Key, paymentID string) (*PaymentReply, error) {
	r, err := newKeyed("canceling", key, struct{}{}, "payments", paymentID, "cancel")
	return c.payment(ctx, r, err)
}

func (c *Client) payment(ctx context.Context, r *call, err error) (*PaymentReply, error) {
	if err != nil {
		return nil, err
	}
	var p PaymentReply
	if p.Reply, err = c.do(ctx, r, &p.Payment); err != nil {
		return nil, err
	}
	return &p, nil
}

// GetPayment reads a payment as it is now.
func (c *Client) GetPayment(ctx context.Context, paymentID string) (*Payment, error) {
	r, err := newCall("reading a payment", http.MethodGet, "payments", paymentID)
	return get[Payment](ctx, c, r, err)
}

// PaymentPatch is a JSON merge patch (RFC 7396) for EditPayment.
type PaymentPatch struct {
	Description *string            `json:"description,omitempty"` // nil: unchanged
	Metadata    map[string]*string `json:"metadata,omitempty"`    // a nil value removes its pair
}

// EditPayment changes the description and metadata of a payment, if the payment still
// has that version. Otherwise the error is an *Error with code precondition_failed,
// which prevents lost updates. See the package comment for such an error that is
// ErrUnknownOutcome as well.
func (c *Client) EditPayment(
	ctx context.Context, paymentID string, version int64, patch PaymentPatch,
) (*Payment, error) {
	r, err := newWrite("editing a payment", http.MethodPatch, patch, "payments", paymentID)
	if err == nil {
		r.mediaType = "application/merge-patch+json"
		r.ifVersion = version
	}
	return get[Payment](ctx, c, r, err)
}

// PaymentFilter selects payments. A field that is left zero does not filter.
type PaymentFilter struct {
	Status         PaymentStatus
	Reference      string
	IdempotencyKey Key       // selects one payment or none
	Account        string    // as source or as destination
	CreatedAfter   time.Time // inclusive
	CreatedBefore  time.Time // exclusive
}

func (f *PaymentFilter) query() url.Values {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("status", string(f.Status))
	set("reference", f.Reference)
	set("account", f.Account)
	if f.IdempotencyKey != "" {
		q.Set("idempotency_key", f.IdempotencyKey.header())
	}
	setTime(q, "created_after", f.CreatedAfter)
	setTime(q, "created_before", f.CreatedBefore)
	return q
}

// ListPayments reads one page of the payments that the filter selects, newest first. A
// page may be short or empty and still not be the last.
func (c *Client) ListPayments(
	ctx context.Context, filter PaymentFilter, page PageRequest,
) (*Page[Payment], error) {
	return list[Payment](ctx, c, "listing payments", filter.query(), page, "payments")
}

// Payments reads all payments that the filter selects, newest first, page by page. An
// error ends the sequence.
func (c *Client) Payments(ctx context.Context, filter PaymentFilter) iter.Seq2[Payment, error] {
	return all(func(page PageRequest) (*Page[Payment], error) {
		return c.ListPayments(ctx, filter, page)
	})
}
