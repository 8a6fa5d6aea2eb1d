package payments

import (
	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/internal/problem"
)

// An answer is stored with the payment, in its transaction, and replayed byte for byte.
// So it is made here, in the terms of the API, whichever door the request came through.

// The statuses of answers that are no problem.
const (
	statusOK      = 200 // the operation changed a payment
	statusCreated = 201 // it made a payment or a refund
)

// announce is the event of the decision.
func (d *decision) announce() outbox.Event {
	event := outbox.Event{
		MerchantID: d.payment.MerchantID,
		ID:         newID(),
		Type:       d.event,
		PaymentID:  d.payment.ID,

		PaymentVersion: d.payment.Version,
	}
	if d.refund != nil {
		event.RefundID = &d.refund.ID
		event.Data = d.refund.JSON()
		return event
	}
	event.Data = d.payment.JSON()
	return event
}

// answer is what the operation's caller is told. body is the payment or the refund as
// JSON.
func (d *decision) answer(
	operation string, requestID uuid.UUID, body []byte,
) idempotency.Answer {
	location := "/payments/" + FormatID(d.payment.ID)
	switch {
	case d.refund != nil && d.refund.Status == RefundDeclined:
		return d.decline(requestID, d.refund.DeclineCode, "the refund was declined ("+
			d.refund.DeclineCode+"); another attempt is a new refund, with a new key")
	case d.refund != nil:
		location += "/refunds/" + FormatRefundID(d.refund.ID)
		return idempotency.Answer{Status: statusCreated, Location: location, Body: body}
	case operation == operationCapture && d.payment.Status == StatusCanceled:
		return d.decline(requestID, DeclineProcessingError,
			"the processor has ended the authorization; another attempt is a new payment")
	case d.payment.Status == StatusDeclined:
		return d.decline(requestID, d.payment.DeclineCode, "the payment was declined ("+
			d.payment.DeclineCode+"); another attempt is a new payment, with a new key")
	case operation != operationCharge && operation != operationAuthorize:
		return idempotency.Answer{Status: statusOK, Body: body}
	default:
		return idempotency.Answer{Status: statusCreated, Location: location, Body: body}
	}
}

// decline is the answer to a request that is declined. The problems have one code for all
// that a card's issuer can say.
func (d *decision) decline(requestID uuid.UUID, declineCode, detail string) idempotency.Answer {
	code := "card_declined"
	if declineCode == DeclineInsufficientFunds {
		code = declineCode
	}
	document := problem.New(code, detail)
	document.RequestID = FormatRequestID(requestID)
	document.PaymentID = FormatID(d.payment.ID)
	return idempotency.Answer{Status: document.Status, Body: document.JSON()}
}
