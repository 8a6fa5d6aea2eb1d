package payments

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/validate"
)

// reasonLengthMax is the longest reason of a refund, in characters.
const reasonLengthMax = 500

// RefundRequest is a request to give back what a payment captured.
type RefundRequest struct {
	PaymentID uuid.UUID
	Amount    *int64 // minor units, at most what is left; nil: all that is left
	Reason    string
}

// RefundStatus of a refund.
type RefundStatus string

// The statuses of a refund.
const (
	RefundProcessing RefundStatus = "processing" // a card processor has not confirmed it yet
	RefundSucceeded  RefundStatus = "succeeded"  // the money is back
	// the destination could not pay, or the processor refused; DeclineCode says why
	RefundDeclined RefundStatus = "declined"
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
	CreatedAt   time.Time // the transaction's timestamp

	key string // the idempotency key that it was made under
}

// Refund gives back what a payment captured, or a part of it. It answers and replays
// like Charge.
func (s *Service) Refund(
	ctx context.Context, caller Caller, request RefundRequest,
) (Reply, error) {
	op := newRefund(caller, request)
	if err := request.check(); err != nil {
		return s.replayOrRefuse(ctx, op, err)
	}
	return s.do(ctx, op)
}

func (r *RefundRequest) check() error {
	var fields validate.Fields
	requireAmount(&fields, r.Amount)
	fields.RequireText("/reason", r.Reason, reasonLengthMax)
	return fields.Err()
}

func newRefund(caller Caller, request RefundRequest) *operation {
	f := fingerprintOn(operationRefund, request.PaymentID)
	fingerprintAmount(f, request.Amount)
	f.Text("reason", request.Reason)
	id := newID()
	return newOperation(caller, f, operationRefund, request.PaymentID,
		func(st *state, claim *idempotency.Claim) decision {
			return decideRefund(st, claim, id, request)
		})
}

// decideRefund gives back what was captured, or a part of it. If the destination cannot
// pay, the refund is declined: that answer is stored, like that of a declined charge.
func decideRefund(
	st *state, claim *idempotency.Claim, refundID uuid.UUID, request RefundRequest,
) decision {
	payment, refusal := st.payment(claim)
	if refusal != nil {
		return decision{refusal: refusal}
	}
	minor := payment.Refundable()
	if request.Amount != nil {
		minor = *request.Amount
	}
	if minor > payment.Refundable() || minor == 0 {
		return decision{refusal: refuseTooLarge("more than what is left to refund,",
			payment.Refundable())}
	}
	if refusal := st.refuseCardRefund(minor, payment); refusal != nil {
		return decision{refusal: refusal}
	}
	refund := &Refund{
		MerchantID: payment.MerchantID,
		ID:         refundID,
		PaymentID:  payment.ID,
		Amount:     ledger.Money{Minor: minor, Currency: payment.Amount.Currency},
		Status:     RefundSucceeded,
		Reason:     request.Reason,
		CreatedAt:  st.now,
		key:        claim.Value,
	}
	switch err := st.giveBack(payment, refund); {
	case errors.Is(err, ledger.ErrInsufficientFunds):
		refund.Status = RefundDeclined
		refund.DeclineCode = DeclineInsufficientFunds
		return decision{payment: payment, refund: refund, event: "refund.declined"}
	case errors.Is(err, ledger.ErrBalanceTooLarge):
		return decision{refusal: refuseBalance()}
	case err != nil:
		panic(err) // a bug: see decideCharge
	}
	st.save(payment)
	if refund.Status == RefundProcessing {
		begun := st.begin(claim, operationRefund, payment, minor)
		begun.refundID = refund.ID
		return decision{payment: payment, refund: refund, event: "refund.processing", begun: begun}
	}
	return decision{payment: payment, refund: refund, event: "refund.succeeded"}
}

// giveBack moves the money of a refund. That of a card is held on the destination until
// the processor has given it back. On an error nothing was done.
func (st *state) giveBack(payment *Payment, refund *Refund) error {
	if payment.byCard() {
		if err := st.book.Place(refund.hold(payment)); err != nil {
			return err
		}
		refund.Status = RefundProcessing
		payment.AmountRefunding += refund.Amount.Minor
		return nil
	}
	if err := st.book.Post(refund.journal(payment)); err != nil {
		return err
	}
	payment.AmountRefunded += refund.Amount.Minor
	return nil
}

// hold is what the refund of a card sets aside until the processor has given it back.
func (r *Refund) hold(p *Payment) ledger.Hold {
	return ledger.Hold{
		MerchantID: p.MerchantID, Currency: p.Amount.Currency, Minor: r.Amount.Minor,
		Source: p.DestinationAccount, Destination: p.SourceAccount,
	}
}

// journal is the payment's journal the other way round.
func (r *Refund) journal(p *Payment) ledger.Journal {
	return ledger.Journal{
		MerchantID: p.MerchantID,
		ID:         r.ID,
		PaymentID:  p.ID,
		Currency:   p.Amount.Currency,
		Lines: []ledger.Line{
			{AccountID: p.DestinationAccount, Minor: -r.Amount.Minor},
			{AccountID: p.SourceAccount, Minor: r.Amount.Minor},
		},
	}
}
