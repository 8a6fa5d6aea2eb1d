package payments

import (
	"github.com/go-json-experiment/json"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
)

// paymentJSON is a payment as the world sees it: in answers, in events and in lists.
type paymentJSON struct {
	ID                 string            `json:"id"`
	Status             Status            `json:"status"`
	Amount             int64             `json:"amount"`
	Currency           string            `json:"currency"`
	SourceAccount      string            `json:"source_account,omitzero"`
	PaymentMethod      string            `json:"payment_method,omitzero"`
	DestinationAccount string            `json:"destination_account"`
	AmountCaptured     int64             `json:"amount_captured"`
	AmountRefunded     int64             `json:"amount_refunded"`
	Reference          *string           `json:"reference"`
	Description        string            `json:"description"`
	Metadata           map[string]string `json:"metadata"`
	DeclineCode        string            `json:"decline_code,omitzero"`
	AuthorizedUntil    string            `json:"authorized_until,omitzero"`
	CancellationReason string            `json:"cancellation_reason,omitzero"`
	CreatedAt          string            `json:"created_at"`
	Version            int64             `json:"version"`
}

// TimeFormat is how callers see times.
const TimeFormat = outbox.TimeFormat

// JSON writes the payment as callers see it. Members of metadata are sorted, so equal
// payments are equal bytes.
func (p *Payment) JSON() []byte {
	view := paymentJSON{
		ID:                 FormatID(p.ID),
		Status:             p.Status,
		Amount:             p.Amount.Minor,
		Currency:           string(p.Amount.Currency),
		PaymentMethod:      p.PaymentMethod,
		DestinationAccount: p.DestinationAccount,
		AmountCaptured:     p.AmountCaptured,
		AmountRefunded:     p.AmountRefunded,
		Description:        p.Description,
		Metadata:           p.Metadata,
		DeclineCode:        p.DeclineCode,
		CancellationReason: p.CancellationReason,
		CreatedAt:          p.CreatedAt.UTC().Format(TimeFormat),
		Version:            p.Version,
	}
	if !p.byCard() {
		view.SourceAccount = p.SourceAccount
	}
	if p.Reference != "" {
		view.Reference = &p.Reference
	}
	if p.Status == StatusAuthorized {
		view.AuthorizedUntil = p.AuthorizedUntil.UTC().Format(TimeFormat)
	}
	return mustMarshal(&view)
}

// refundJSON is a refund as the world sees it; see paymentJSON.
type refundJSON struct {
	ID        string       `json:"id"`
	PaymentID string       `json:"payment_id"`
	Amount    int64        `json:"amount"`
	Status    RefundStatus `json:"status"`
	Reason    string       `json:"reason"`
	CreatedAt string       `json:"created_at"`
}

// JSON writes the refund as callers see it.
func (r *Refund) JSON() []byte {
	return mustMarshal(&refundJSON{
		ID:        FormatRefundID(r.ID),
		PaymentID: FormatID(r.PaymentID),
		Amount:    r.Amount.Minor,
		Status:    r.Status,
		Reason:    r.Reason,
		CreatedAt: r.CreatedAt.UTC().Format(TimeFormat),
	})
}

// metadataJSON writes metadata as it is stored.
func metadataJSON(metadata map[string]string) string {
	if len(metadata) == 0 {
		return "{}"
	}
	return string(mustMarshal(metadata))
}

// mustMarshal is for values that cannot fail to marshal: numbers, and texts that were
// decoded from valid UTF-8.
func mustMarshal(value any) []byte {
	text, err := json.Marshal(value, json.Deterministic(true))
	if err != nil {
		panic(err)
	}
	return text
}
