package payments

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
)

// Status of a payment.
type Status string

// The statuses of a payment; states.go has the ways between them.
const (
	StatusProcessing Status = "processing" // a card processor has not said yet what it came to
	StatusAuthorized Status = "authorized" // the money is held, until AuthorizedUntil at most
	StatusSucceeded  Status = "succeeded"  // the money has moved
	StatusDeclined   Status = "declined"   // it has not and will not; DeclineCode says why
	StatusCanceled   Status = "canceled"   // it was held and is free again
)

// statuses are all that the schema knows (payments_status_known).
var statuses = []Status{
	StatusProcessing, StatusAuthorized, StatusSucceeded, StatusDeclined, StatusCanceled,
}

// live tells whether a payment of the status has moved money, or may yet do so. A live
// payment keeps its reference.
func (s Status) live() bool {
	switch s {
	case StatusProcessing, StatusAuthorized, StatusSucceeded:
		return true
	case StatusDeclined, StatusCanceled:
		return false
	}
	return true // what is not known is not over
}

// Known tells whether a payment can have the status.
func (s Status) Known() bool { return slices.Contains(statuses, s) }

// Two of the decline codes (payments_decline_code_known). A card processor may give
// others.
const (
	DeclineInsufficientFunds = "insufficient_funds" // also of a source account
	DeclineProcessingError   = "processing_error"   // not the card's fault
)

// Why a payment was canceled.
const (
	CancellationRequested = "requested" // by its merchant
	CancellationExpired   = "expired"   // its authorization came to its end
)

// Payment is one intent to move money from a source to a destination account.
type Payment struct {
	MerchantID         int64
	ID                 uuid.UUID
	Status             Status
	Amount             ledger.Money
	SourceAccount      string // of a card payment: the processor's clearing account
	PaymentMethod      string // the processor's token of the card; "": an account pays
	DestinationAccount string
	AmountCaptured     int64 // minor units
	AmountRefunded     int64 // minor units
	// AmountRefunding is the total of the refunds that are at the processor.
	AmountRefunding    int64
	PendingOperation   string // that the processor is asked for, on an authorization; "": none
	DeclineCode        string
	CancellationReason string
	Reference          string
	Description        string
	Metadata           map[string]string
	Version            int64
	AuthorizedUntil    time.Time // zero unless the payment was authorized before it was captured
	CreatedAt          time.Time // the transaction's timestamp

	key string // the idempotency key that it was made under
}

// Key is the idempotency key that the payment was made under. The payment's JSON does not
// have it, because events have that JSON, too.
func (p *Payment) Key() string { return p.key }

// accounts are the two that it moves money between.
func (p *Payment) accounts() []ledger.Ref {
	return []ledger.Ref{
		{MerchantID: p.MerchantID, AccountID: p.SourceAccount},
		{MerchantID: p.MerchantID, AccountID: p.DestinationAccount},
	}
}

// journal is how the payment moves money when it captures: out of its source, into its
// destination.
func (p *Payment) journal(minor int64) ledger.Journal {
	return ledger.Journal{
		MerchantID: p.MerchantID,
		ID:         p.ID,
		PaymentID:  p.ID,
		Currency:   p.Amount.Currency,
		Lines: []ledger.Line{
			{AccountID: p.SourceAccount, Minor: -minor},
			{AccountID: p.DestinationAccount, Minor: minor},
		},
	}
}

// hold is what the payment sets aside while it is open. The money of a card is held at
// the processor, so here it only keeps the accounts from being closed.
func (p *Payment) hold() ledger.Hold {
	minor := p.Amount.Minor
	if p.byCard() {
		minor = 0
	}
	return ledger.Hold{
		MerchantID: p.MerchantID, Currency: p.Amount.Currency, Minor: minor,
		Source: p.SourceAccount, Destination: p.DestinationAccount,
	}
}

// byCard tells whether a card pays, and so a processor has to be asked.
func (p *Payment) byCard() bool { return p.PaymentMethod != "" }

// Refundable is what can still be refunded, in minor units.
func (p *Payment) Refundable() int64 {
	return p.AmountCaptured - p.AmountRefunded - p.AmountRefunding
}

const (
	paymentIDPrefix = "pay_"
	refundIDPrefix  = "ref_"
	requestIDPrefix = "req_"
)

// newID makes an id that sorts by time. It comes from a clock and a random source, and
// never from a counter of this process: two instances must not make the same one.
func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

// FormatID writes a payment's id as callers see it: "pay_" and the 32 hexadecimal
// digits of a UUID of version 7, which sort by time. psql takes the digits as they are.
func FormatID(id uuid.UUID) string { return formatID(paymentIDPrefix, id) }

// FormatRefundID writes a refund's id as callers see it: like a payment's, behind
// "ref_".
func FormatRefundID(id uuid.UUID) string { return formatID(refundIDPrefix, id) }

// FormatRequestID writes a request's id as callers see it: like a payment's, behind
// "req_".
func FormatRequestID(id uuid.UUID) string { return formatID(requestIDPrefix, id) }

func formatID(prefix string, id uuid.UUID) string {
	text := make([]byte, len(prefix), len(prefix)+2*len(id))
	copy(text, prefix)
	return string(hex.AppendEncode(text, id[:]))
}

// ErrInvalidID means that a text cannot be the id of any payment or refund.
var ErrInvalidID = errors.New("not an id")

// ParseID reads what FormatID wrote, and nothing else.
func ParseID(text string) (uuid.UUID, error) { return parseID(paymentIDPrefix, text) }

// ParseRefundID reads what FormatRefundID wrote, and nothing else.
func ParseRefundID(text string) (uuid.UUID, error) { return parseID(refundIDPrefix, text) }

// ParseRequestID reads what FormatRequestID wrote, and nothing else.
func ParseRequestID(text string) (uuid.UUID, error) { return parseID(requestIDPrefix, text) }

func parseID(prefix, text string) (uuid.UUID, error) {
	digits, ok := strings.CutPrefix(text, prefix)
	if !ok || len(digits) != 32 || strings.ContainsAny(digits, "ABCDEF") {
		return uuid.UUID{}, ErrInvalidID
	}
	var id uuid.UUID
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return uuid.UUID{}, ErrInvalidID
	}
	return id, nil
}
