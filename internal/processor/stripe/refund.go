package stripe

import (
	"time"

	"github.com/stripe/stripe-go/v84"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
)

// Refund is a refund as the processor describes it. One that a person made in the
// dashboard, or that released the rest of a partial capture, has the zero Owner.
type Refund struct {
	Owner

	ID        string
	IntentID  string // "" if it belongs to a charge without an intent
	Amount    ledger.Money
	Status    RefundStatus
	CreatedAt time.Time
}

// RefundStatus is Stripe's status of a refund. An unknown text stays as it is.
type RefundStatus string

// Statuses of a refund. A succeeded one can still fail, days later: then the money is back
// at the processor.
const (
	RefundPending        RefundStatus = "pending"
	RefundRequiresAction RefundStatus = "requires_action"
	RefundSucceeded      RefundStatus = "succeeded"
	RefundFailed         RefundStatus = "failed"
	RefundCanceled       RefundStatus = "canceled"
)

// Failed tells whether a refund of the status moved no money in the end.
func (s RefundStatus) Failed() bool { return s == RefundFailed || s == RefundCanceled }

// readableRefund tells whether an answer was a refund, and not some other JSON.
func readableRefund(sent *stripe.Refund) bool {
	return sent.Object == "refund" && sent.ID != "" && sent.Status != ""
}

func newRefund(sent *stripe.Refund) Refund {
	refund := Refund{
		Owner:     ownerOf(sent.Metadata),
		ID:        sent.ID,
		Amount:    fromWire(sent.Amount, sent.Currency),
		Status:    RefundStatus(sent.Status),
		CreatedAt: time.Unix(sent.Created, 0).UTC(),
	}
	if sent.PaymentIntent != nil {
		refund.IntentID = sent.PaymentIntent.ID
	}
	return refund
}

// Dispute is a cardholder's objection to a charge. It has no metadata of ours: the intent
// says whose it is.
type Dispute struct {
	ID        string
	IntentID  string
	Amount    ledger.Money
	Status    string // Stripe's, for example "needs_response", "won", "lost"
	Reason    string // Stripe's, for example "fraudulent"
	CreatedAt time.Time
}

func readableDispute(sent *stripe.Dispute) bool {
	return sent.Object == "dispute" && sent.ID != ""
}

func newDispute(sent *stripe.Dispute) Dispute {
	dispute := Dispute{
		ID:        sent.ID,
		Amount:    fromWire(sent.Amount, sent.Currency),
		Status:    printable(string(sent.Status)),
		Reason:    printable(string(sent.Reason)),
		CreatedAt: time.Unix(sent.Created, 0).UTC(),
	}
	if sent.PaymentIntent != nil {
		dispute.IntentID = sent.PaymentIntent.ID
	}
	return dispute
}
