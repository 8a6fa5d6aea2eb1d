package httpapi

import (
	"net/http"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/payments"
)

// captureRequest is the body of POST /payments/{id}/capture.
type captureRequest struct {
	Amount *integer `json:"amount"`
}

// postCapture moves the money that an authorization holds, once per key.
func (a *api) postCapture(w http.ResponseWriter, r *http.Request) error {
	var body captureRequest
	return a.change(w, r, &body,
		func(caller payments.Caller, id uuid.UUID) (payments.Reply, error) {
			return a.Payments.Capture(r.Context(), caller,
				payments.Capture{PaymentID: id, Amount: body.Amount.value()})
		})
}

// postCancel frees the money that an authorization holds, once per key.
func (a *api) postCancel(w http.ResponseWriter, r *http.Request) error {
	return a.change(w, r, &struct{}{},
		func(caller payments.Caller, id uuid.UUID) (payments.Reply, error) {
			return a.Payments.Cancel(r.Context(), caller, id)
		})
}

// refundRequest is the body of POST /payments/{id}/refunds.
type refundRequest struct {
	Amount *integer `json:"amount"`
	Reason *text    `json:"reason"`
}

// postRefund gives money back, once per key.
func (a *api) postRefund(w http.ResponseWriter, r *http.Request) error {
	var body refundRequest
	return a.change(w, r, &body,
		func(caller payments.Caller, id uuid.UUID) (payments.Reply, error) {
			return a.Payments.Refund(r.Context(), caller, payments.RefundRequest{
				PaymentID: id, Amount: body.Amount.value(), Reason: body.Reason.value(),
			})
		})
}

// change reads a keyed request about one payment and answers with do's reply. The body
// is optional.
func (a *api) change(
	w http.ResponseWriter, r *http.Request, body any,
	do func(payments.Caller, uuid.UUID) (payments.Reply, error),
) error {
	caller, err := callerOf(r)
	if err != nil {
		return err
	}
	id, err := paymentID(r)
	if err != nil {
		return err
	}
	if err := decodeOptional(w, r, body); err != nil {
		return err
	}
	reply, err := a.execute(r, func() (payments.Reply, error) { return do(caller, id) })
	if err != nil {
		return err
	}
	writeReply(w, r, reply)
	return nil
}

// paymentID is the id of the payment in a request's path. A malformed id is reported as
// not found.
func paymentID(r *http.Request) (uuid.UUID, error) {
	id, err := payments.ParseID(pathParameter(r, "id"))
	if err != nil {
		return uuid.UUID{}, payments.ErrNotFound
	}
	requestOf(r).paymentID = id
	return id, nil
}

// listRefunds lists a payment's refunds, newest first.
func (a *api) listRefunds(w http.ResponseWriter, r *http.Request) error {
	id, err := paymentID(r)
	if err != nil {
		return err
	}
	q, err := listQueryOf(r)
	if err != nil {
		return err
	}
	before, err := q.before()
	if err != nil {
		return err
	}
	refunds, err := a.Payments.Refunds(r.Context(), requestOf(r).identity.MerchantID, id, before,
		q.limit+1)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, pageOf(&q, refunds,
		func(refund **payments.Refund) jsontext.Value { return (*refund).JSON() },
		func(refund **payments.Refund) []byte { return (*refund).ID[:] }))
}

func (a *api) getRefund(w http.ResponseWriter, r *http.Request) error {
	id, err := paymentID(r)
	if err != nil {
		return err
	}
	refundID, err := payments.ParseRefundID(pathParameter(r, "refund_id"))
	if err != nil {
		return payments.ErrRefundNotFound
	}
	refund, err := a.Payments.GetRefund(r.Context(), requestOf(r).identity.MerchantID, id,
		refundID)
	if err != nil {
		return err
	}
	writeBody(w, http.StatusOK, jsonType, refund.JSON())
	return nil
}
