package payments

import (
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
)

// Capture is a request to move the money that an authorized payment holds.
type Capture struct {
	PaymentID uuid.UUID
	Amount    *int64 // minor units, at most what was authorized; nil: all of it
}

// RefundRequest is a request to give back what a payment captured.
type RefundRequest struct {
	PaymentID uuid.UUID
	Amount    *int64 // minor units, at most what is left; nil: all that is left
	Reason    string

	id uuid.UUID // of the refund that it will make
}

// RefundStatus of a refund.
type RefundStatus string

// The statuses that a refund between accounts can have.
const (
	RefundSucceeded RefundStatus = "succeeded" // the money is back
	RefundDeclined  RefundStatus = "declined"  // the destination could not pay; DeclineCode says why
)

// Refund is money given back for a payment.
type Refund struct {
	MerchantID  int64
	ID          uuid.UUID
	PaymentID   uuid.UUID
	Amount      ledger.Money
	Status      RefundStatus
	DeclineCode string
	Reason      string
	CreatedAt   time.Time // the database's clock, read after the locks
}

// reasonLengthMax is the longest reason of a refund, in characters.
const reasonLengthMax = 500

// newChange makes an operation on a payment that is there.
func newChange(caller Caller, f *idempotency.Fingerprinter, operationName string, paymentID uuid.UUID) *operation {
	return &operation{
		claim: idempotency.Claim{
			Key:         caller.Key,
			Operation:   operationName,
			Fingerprint: f.Sum(),
			RequestID:   caller.RequestID,
			PaymentID:   paymentID,
		},
		changes: true,
	}
}

// fingerprintOf begins the canonical form of a request about one payment; see Charge.fingerprint.
func fingerprintOf(operationName string, paymentID uuid.UUID) *idempotency.Fingerprinter {
	f := idempotency.NewFingerprinter(operationName)
	f.Text("payment_id", FormatID(paymentID))
	return f
}

func newCapture(caller Caller, capture Capture) *operation {
	f := fingerprintOf(operationCapture, capture.PaymentID)
	fingerprintAmount(f, capture.Amount)
	op := newChange(caller, f, operationCapture, capture.PaymentID)
	op.decide = func(b *books) decision { return decideCapture(b, op.claim, capture) }
	return op
}

func newCancel(caller Caller, paymentID uuid.UUID) *operation {
	op := newChange(caller, fingerprintOf(operationCancel, paymentID), operationCancel, paymentID)
	op.decide = func(b *books) decision { return decideCancel(b, op.claim) }
	return op
}

// newExpire is the service's own, under a key that no caller can choose. Whichever instance finds the authorization first
// cancels it.
func newExpire(payment paymentRef) *operation {
	caller := Caller{
		Key: idempotency.Key{
			MerchantID: payment.merchantID, Scope: idempotency.ScopeService, Value: operationExpire + ":" + FormatID(payment.id),
		},
		RequestID: newID(),
	}
	op := newChange(caller, fingerprintOf(operationExpire, payment.id), operationExpire, payment.id)
	op.decide = func(b *books) decision { return decideExpire(b, op.claim) }
	return op
}

func newRefund(caller Caller, request RefundRequest) *operation {
	request.id = newID()
	f := fingerprintOf(operationRefund, request.PaymentID)
	fingerprintAmount(f, request.Amount)
	f.Text("reason", request.Reason)
	op := newChange(caller, f, operationRefund, request.PaymentID)
	op.decide = func(b *books) decision { return decideRefund(b, op.claim, request) }
	return op
}

// fingerprintAmount tells an amount that is left out from one that is given, whatever it is: what the first means depends on
// the payment.
func fingerprintAmount(f *idempotency.Fingerprinter, amount *int64) {
	if amount != nil {
		f.Text("amount", strconv.FormatInt(*amount, 10))
	}
}

func (c *Capture) check() *Refusal {
	var complaints Complaints
	complaints.requireAmount(c.Amount)
	return complaints.Refusal()
}

func (r *RefundRequest) check() *Refusal {
	var complaints Complaints
	complaints.requireAmount(r.Amount)
	complaints.RequireText("/reason", r.Reason, reasonLengthMax)
	return complaints.Refusal()
}

// requireAmount complains about an amount that no payment can have; nil is all of it.
func (c *Complaints) requireAmount(minor *int64) {
	c.Require(minor == nil || *minor > 0, "/amount", "must be at least 1")
	c.Require(minor == nil || *minor <= ledger.AmountMax, "/amount", "must be at most 9007199254740991")
}
