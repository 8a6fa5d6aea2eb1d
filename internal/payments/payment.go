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

// The statuses that a charge between accounts can have. The schema knows those of later stages as well.
const (
	StatusSucceeded Status = "succeeded" // the money has moved
	StatusDeclined  Status = "declined"  // it has not and will not; DeclineCode says why
)

// statuses are all that the schema knows (payments_status_known), those of later stages too.
var statuses = []Status{"authorized", "processing", StatusSucceeded, StatusDeclined, "canceled"}

// Known tells whether a payment can have the status.
func (s Status) Known() bool { return slices.Contains(statuses, s) }

// DeclineInsufficientFunds is the decline code of a source account that cannot pay.
const DeclineInsufficientFunds = "insufficient_funds"

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
	Reference          string
	Description        string
	Metadata           map[string]string
	Version            int64
	CreatedAt          time.Time // the database's clock, read after the locks
}

const idPrefix = "pay_"

// FormatID writes a payment's id as callers see it: "pay_" and the 32 hexadecimal digits of a UUID of version 7, which
// sort by time. psql takes the digits as they are.
func FormatID(id uuid.UUID) string {
	text := make([]byte, len(idPrefix), len(idPrefix)+2*len(id))
	copy(text, idPrefix)
	return string(hex.AppendEncode(text, id[:]))
}

// ErrInvalidID means that a text cannot be the id of any payment.
var ErrInvalidID = errors.New("not a payment id")

// ParseID reads what FormatID wrote, and nothing else.
func ParseID(text string) (uuid.UUID, error) {
	digits, ok := strings.CutPrefix(text, idPrefix)
	if !ok || len(digits) != 32 || strings.ContainsFunc(digits, func(r rune) bool { return r >= 'A' && r <= 'F' }) {
		return uuid.UUID{}, ErrInvalidID
	}
	var id uuid.UUID
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return uuid.UUID{}, ErrInvalidID
	}
	return id, nil
}
