package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// Charge is an intent to move money from one account to another. As JSON it is the
// request's own, so that it can be stored with its key.
type Charge struct {
	// in the currency's minor unit: 4999 is 49.99 USD
	Amount             int64  `json:"amount"`
	Currency           string `json:"currency"`
	SourceAccount      string `json:"source_account"`
	DestinationAccount string `json:"destination_account"`
	// one payment each, whatever the key; "" is none
	Reference   string            `json:"reference,omitempty"`
	Description string            `json:"description,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
}

// PaymentStatus says where in its life a payment is.
type PaymentStatus string

// The statuses of a payment.
const (
	PaymentAuthorized PaymentStatus = "authorized" // the money is held
	PaymentProcessing PaymentStatus = "processing" // its outcome is being found out
	PaymentSucceeded  PaymentStatus = "succeeded"  // the money has moved
	// it has not, and will not; DeclineCode says why
	PaymentDeclined PaymentStatus = "declined"
	PaymentCanceled PaymentStatus = "canceled" // it was held, and is free again
)

// Payment is one movement of money, and what has become of it.
type Payment struct {
	ID     string        `json:"id"`
	Status PaymentStatus `json:"status"`
	// this and the following in the currency's minor unit
	Amount             int64             `json:"amount"`
	Currency           string            `json:"currency"`
	SourceAccount      string            `json:"source_account"`
	DestinationAccount string            `json:"destination_account"`
	AmountCaptured     int64             `json:"amount_captured"`
	AmountRefunded     int64             `json:"amount_refunded"`
	Reference          string            `json:"reference"` // "" is none
	Description        string            `json:"description"`
	Metadata           map[string]string `json:"metadata"`
	DeclineCode        string            `json:"decline_code"`
	CreatedAt          time.Time         `json:"created_at"`
	// moves with every change; see EditPayment
	Version int64 `json:"version"`
}

func (p *Payment) complete() bool { return p.ID != "" }

// PaymentReply is the answer to a request that made or changed a payment: the payment
// as that request left it, also when it is replayed later. GetPayment shows it as it is
// today.
type PaymentReply struct {
	Payment
	Reply
}

// Charge moves the money, once per key. A source account that cannot pay is an *Error
// that is Declined.
func (c *Client) Charge(ctx context.Context, key Key, charge Charge) (*PaymentReply, error) {
	r, err := newKeyed("charging", key, charge, "payments")
	return c.payment(ctx, r, err)
}

// Authorize holds the money, once per key, until Capture moves it or Cancel frees it.
// After the service's AUTHORIZATION_LIFETIME it is freed by itself.
func (c *Client) Authorize(ctx context.Context, key Key, charge Charge) (*PaymentReply, error) {
	r, err := newKeyed("authorizing", key, struct {
		Charge
		Capture bool `json:"capture"`
	}{charge, false}, "payments")
	return c.payment(ctx, r, err)
}

// CaptureRequest says how much of an authorization is captured.
type CaptureRequest struct {
	Amount *int64 `json:"amount,omitempty"` // nil: all of it; the rest is freed
}

// Capture moves the money that an authorization holds, once per key, and once at all.
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

// PaymentPatch is what EditPayment changes: a JSON merge patch (RFC 7396).
type PaymentPatch struct {
	Description *string `json:"description,omitempty"` // nil: as it is
	// of each name the new value; nil removes it
	Metadata map[string]*string `json:"metadata,omitempty"`
}

// EditPayment changes what is written on a payment, if it still has that version, so
// that nobody's change is undone unseen: otherwise it is an *Error with code
// precondition_failed. The package comment says what that means when it is
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

// PaymentFilter chooses payments. What is left zero does not matter.
type PaymentFilter struct {
	Status         PaymentStatus
	Reference      string
	IdempotencyKey Key       // the one payment that this key stands for, if it stands for one
	Account        string    // as source or as destination
	CreatedAfter   time.Time // that moment included
	CreatedBefore  time.Time
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

// ListPayments reads one page of the payments that the filter chooses, newest first. A
// page may have fewer than its limit, or none, and not be the last.
func (c *Client) ListPayments(
	ctx context.Context, filter PaymentFilter, page PageRequest,
) (*Page[Payment], error) {
	return list[Payment](ctx, c, "listing payments", filter.query(), page, "payments")
}

// Payments reads all payments that the filter chooses, newest first, page after page as
// they are asked for. After an error there are no more.
func (c *Client) Payments(ctx context.Context, filter PaymentFilter) iter.Seq2[Payment, error] {
	return all(func(page PageRequest) (*Page[Payment], error) {
		return c.ListPayments(ctx, filter, page)
	})
}
