package payments

import (
	"fmt"
	"unicode/utf8"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
)

// Limits of what a caller may attach to a payment, in characters.
const (
	descriptionLengthMax   = 500
	referenceLengthMax     = 128
	metadataPairsMax       = 50
	metadataKeyLengthMax   = 40
	metadataValueLengthMax = 500
)

const operationCharge = "charge"

// Charge is a request to move money between two accounts of one merchant.
type Charge struct {
	Amount             ledger.Money
	SourceAccount      string
	PaymentMethod      string // a processor's token, instead of SourceAccount
	DestinationAccount string
	Reference          string
	Description        string
	Metadata           map[string]string
	AuthorizeOnly      bool // hold the money, to be captured later
}

// newCharge makes the operation that executes a request: what it claims, what it locks, how it is decided.
func newCharge(caller Caller, charge Charge) *operation {
	claim := idempotency.Claim{
		Key:         caller.Key,
		Operation:   operationCharge,
		Fingerprint: charge.fingerprint(),
		RequestID:   caller.RequestID,
		PaymentID:   newID(),
	}
	return &operation{
		claim: claim,
		accounts: []ledger.Ref{
			{MerchantID: claim.MerchantID, AccountID: charge.SourceAccount},
			{MerchantID: claim.MerchantID, AccountID: charge.DestinationAccount},
		},
		reference: charge.Reference,
		decide:    func(b *books) decision { return decideCharge(b, claim, charge) },
	}
}

// fingerprint is the canonical form of the request. Never change what it writes for a given Charge: stored fingerprints
// are for ever. A new field is left out when it has its default, and so changes nothing for older requests.
func (c *Charge) fingerprint() idempotency.Fingerprint {
	f := idempotency.NewFingerprinter(operationCharge)
	f.Int("amount", c.Amount.Minor)
	f.Text("currency", string(c.Amount.Currency))
	f.Text("source_account", c.SourceAccount)
	f.Text("payment_method", c.PaymentMethod)
	f.Text("destination_account", c.DestinationAccount)
	f.Text("reference", c.Reference)
	f.Text("description", c.Description)
	f.Pairs("metadata", c.Metadata)
	if c.AuthorizeOnly {
		f.Text("capture", "false")
	}
	return f.Sum()
}

// check tells what is wrong with the request by itself, whatever the books say; nil if nothing is.
func (c *Charge) check() *Refusal {
	var fields []FieldError
	require := func(ok bool, pointer, detail string) {
		if !ok {
			fields = append(fields, FieldError{Pointer: pointer, Detail: detail})
		}
	}
	require(c.Amount.Minor > 0, "/amount", "must be at least 1")
	require(c.Amount.Minor <= ledger.AmountMax, "/amount", fmt.Sprintf("must be at most %d", ledger.AmountMax))
	require(c.Amount.Currency.Known(), "/currency", "must be an ISO 4217 code in upper case, for example USD")
	require(c.SourceAccount != c.DestinationAccount, "/destination_account", "must differ from source_account")
	require(utf8.RuneCountInString(c.Reference) <= referenceLengthMax, "/reference",
		fmt.Sprintf("must have at most %d characters", referenceLengthMax))
	require(utf8.RuneCountInString(c.Description) <= descriptionLengthMax, "/description",
		fmt.Sprintf("must have at most %d characters", descriptionLengthMax))
	require(c.PaymentMethod == "", "/payment_method", "is not available in this release: charge a source_account")
	require(!c.AuthorizeOnly, "/capture", "cannot be false in this release: a charge captures at once")
	fields = append(fields, CheckMetadata(c.Metadata)...)
	if len(fields) == 0 {
		return nil
	}
	return &Refusal{Code: CodeUnprocessable, Detail: fields[0].Pointer[1:] + " " + fields[0].Detail, Fields: fields}
}

// CheckMetadata tells what is wrong with a caller's metadata; nil if nothing is.
func CheckMetadata(metadata map[string]string) (fields []FieldError) {
	if len(metadata) > metadataPairsMax {
		return []FieldError{{"/metadata", fmt.Sprintf("must have at most %d members", metadataPairsMax)}}
	}
	for key, value := range metadata {
		if n := utf8.RuneCountInString(key); n == 0 || n > metadataKeyLengthMax {
			return []FieldError{{"/metadata", fmt.Sprintf("names must have 1 to %d characters", metadataKeyLengthMax)}}
		}
		if utf8.RuneCountInString(value) > metadataValueLengthMax {
			return []FieldError{{"/metadata", fmt.Sprintf("values must have at most %d characters", metadataValueLengthMax)}}
		}
	}
	return nil
}
