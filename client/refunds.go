package client

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// RefundRequest is the amount to give back, and the reason.
type RefundRequest struct {
	Amount *int64 `json:"amount,omitempty"` // nil: all that is left of the captured amount
	Reason string `json:"reason,omitempty"`
}

// RefundStatus is the state of a refund.
type RefundStatus string

// The statuses of a refund.
const (
	RefundProcessing RefundStatus = "processing"
	RefundSucceeded  RefundStatus = "succeeded"
	RefundDeclined   RefundStatus = "declined"
)

// Refund is money that went back from a payment's destination to its source.
type Refund struct {
	ID        string       `json:"id"`
	PaymentID string       `json:"payment_id"`
	Amount    int64        `json:"amount"` // in the minor unit of the payment's currency
	Status    RefundStatus `json:"status"`
	Reason    string       `json:"reason"`
	CreatedAt time.Time    `json:"created_at"`
}

func (r *Refund) complete() bool { return r.ID != "" }

// RefundReply is the answer to a request that made a refund.
type RefundReply struct {
	Refund
	Reply
}

// Refund gives money back, once per key. A payment may have many refunds, up to the
// captured amount.
func (c *Client) Refund(
	ctx context.Context, key Key, paymentID string, request RefundRequest,
) (*RefundReply, error) {
	r, err := newKeyed("refunding", key, request, "payments", paymentID, "refunds")
	if err != nil {
		return nil, err
	}
	var refund RefundReply
	if refund.Reply, err = c.do(ctx, r, &refund.Refund); err != nil {
		return nil, err
	}
	return &refund, nil
}

// GetRefund reads one refund of a payment.
func (c *Client) GetRefund(
	ctx context.Context, paymentID string, refundID string,
) (*Refund, error) {
	r, err := newCall("reading a refund", http.MethodGet, "payments", paymentID, "refunds",
		refundID)
	return get[Refund](ctx, c, r, err)
}

// ListRefunds reads one page of a payment's refunds, newest first.
func (c *Client) ListRefunds(
	ctx context.Context, paymentID string, page PageRequest,
) (*Page[Refund], error) {
	return list[Refund](ctx, c, "listing refunds", nil, page, "payments", paymentID, "refunds")
}

// Refunds reads all refunds of a payment, newest first. An error ends the sequence.
func (c *Client) Refunds(ctx context.Context, paymentID string) iter.Seq2[Refund, error] {
	return all(func(page PageRequest) (*Page[Refund], error) {
		return c.ListRefunds(ctx, paymentID, page)
	})
}
