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

// The statuses of a payment between accounts; states.go has the ways between them.
const (
	StatusAuthorized Status = "authorized" // the money is held, until AuthorizedUntil at most
	StatusSucceeded  Status = "succeeded"  // the money has moved
	StatusDeclined   Status = "declined"   // it has not and will not; DeclineCode says why
	StatusCanceled   Status = "canceled"   // it was held and is free again
)

// statusProcessing is that of a payment that waits for a processor. The schema knows
// it, and no payment has it yet.
const statusProcessing Status = "processing"

// statuses are all that the schema knows (payments_status_known).
var statuses = []Status{
	StatusAuthorized, statusProcessing, StatusSucceeded, StatusDeclined,
	StatusCanceled,
}

// live tells whether a payment of the status has moved money, or may yet do so. A live
// payment keeps its reference.
func (s Status) live() bool {
	switch s {
	case StatusAuthorized, statusProcessing, StatusSucceeded:
		return true
	case StatusDeclined, StatusCanceled:
		return false
	}
	return true // what is not known is not over
}

// Known tells whether a payment can have the status.
func (s Status) Known() bool { return slices.Contains(statuses, s) }

// DeclineInsufficientFunds is the decline code of a source account that cannot pay.
const DeclineInsufficientFunds = "insufficient_funds"

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
	SourceAccount      string
	DestinationAccount string
	AmountCaptured     int64 // minor units
	AmountRefunded     int64 // minor units
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

// hold is what the payment sets aside while it is authorized.
func (p *Payment) hold() ledger.Hold {
	return ledger.Hold{
		MerchantID: p.MerchantID, Currency: p.Amount.Currency, Minor: p.Amount.Minor,
		Source: p.SourceAccount, Destination: p.DestinationAccount,
	}
}

// Refundable is what can still be refunded, in minor units.
func (p *Payment) Refundable() int64 { return p.AmountCaptured - p.AmountRefunded }

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
