package httpapi

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/payments"
)

// chargeRequest is the body of POST /payments. An absent or null member is a nil pointer.
type chargeRequest struct {
	Amount             *integer        `json:"amount"`
	Currency           *text           `json:"currency"`
	SourceAccount      *text           `json:"source_account"`
	PaymentMethod      *text           `json:"payment_method"`
	DestinationAccount *text           `json:"destination_account"`
	Reference          *text           `json:"reference"`
	Description        *text           `json:"description"`
	Metadata           map[string]text `json:"metadata"`
	Capture            *bool           `json:"capture"`
}

// postPayment charges, once per key.
func (a *api) postPayment(w http.ResponseWriter, r *http.Request) error {
	caller, err := callerOf(r)
	if err != nil {
		return err
	}
	var body chargeRequest
	if err := decode(w, r, &body); err != nil {
		return err
	}
	charge, err := body.charge()
	if err != nil {
		return err
	}
	reply, err := a.execute(r, func() (payments.Reply, error) {
		if a.cardsFull(r, &charge) {
			return a.Payments.ReplayCharge(r.Context(), caller, charge, payments.ErrOverloaded)
		}
		return a.Payments.Charge(r.Context(), caller, charge)
	})
	if err != nil {
		return err
	}
	writeReply(w, r, reply)
	return nil
}

// callerOf reads the key of a request.
func callerOf(r *http.Request) (payments.Caller, error) {
	value, err := idempotency.ParseKey(r.Header["Idempotency-Key"])
	if err != nil {
		return payments.Caller{}, err
	}
	req := requestOf(r)
	key := idempotency.Key{
		MerchantID: req.identity.MerchantID, Scope: idempotency.ScopeClient, Value: value,
	}
	return payments.Caller{Key: key, RequestID: req.id}, nil
}

func (c *chargeRequest) charge() (payments.Charge, error) {
	if err := errors.Join(
		required(c.Amount, "/amount"),
		required(c.Currency, "/currency"),
		required(c.DestinationAccount, "/destination_account"),
	); err != nil {
		return payments.Charge{}, err
	}
	if (c.SourceAccount == nil) == (c.PaymentMethod == nil) {
		return payments.Charge{},
			&invalidRequest{detail: "give exactly one of source_account and payment_method"}
	}
	metadata, err := texts(c.Metadata)
	if err != nil {
		return payments.Charge{}, err
	}
	return payments.Charge{
		Amount: ledger.Money{
			Minor: int64(*c.Amount), Currency: ledger.Currency(*c.Currency),
		},
		SourceAccount:      c.SourceAccount.value(),
		PaymentMethod:      c.PaymentMethod.value(),
		DestinationAccount: c.DestinationAccount.value(),
		Reference:          c.Reference.value(),
		Description:        c.Description.value(),
		Metadata:           metadata,
		AuthorizeOnly:      c.Capture != nil && !*c.Capture,
	}, nil
}

func (a *api) getPayment(w http.ResponseWriter, r *http.Request) error {
	id, err := paymentID(r)
	if err != nil {
		return err
	}
	payment, err := a.Payments.Get(r.Context(), requestOf(r).identity.MerchantID, id)
	if err != nil {
		return err
	}
	// In printable ASCII this is the notation of RFC 9651.
	w.Header().Set("Original-Idempotency-Key", strconv.Quote(payment.Key()))
	writePayment(w, payment)
	return nil
}

func writePayment(w http.ResponseWriter, payment *payments.Payment) {
	w.Header().Set("ETag", etag(payment.Version))
	writeBody(w, http.StatusOK, jsonType, payment.JSON())
}

func writeJSON(w http.ResponseWriter, status int, value any) error {
	body, err := json.Marshal(value, json.Deterministic(true))
	if err != nil {
		return err
	}
	writeBody(w, status, jsonType, body)
	return nil
}

// etag writes a version as a strong entity tag (RFC 9110, section 8.8.3).
func etag(version int64) string { return strconv.Quote(strconv.FormatInt(version, 10)) }
