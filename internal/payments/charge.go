package payments

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/paymentsvc/paymentsvc/internal/cardnumber"
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
	var complaints Complaints
	complaints.requireAmount(&c.Amount.Minor)
	complaints.RequireCurrency(c.Amount.Currency)
	complaints.Require(c.SourceAccount != c.DestinationAccount, "/destination_account", "must differ from source_account")
	complaints.Require(ValidReference(c.Reference), "/reference", "must have at most 128 characters")
	complaints.RequireText("/description", c.Description, descriptionLengthMax)
	complaints.RequireNoCardNumber("/payment_method", c.PaymentMethod) // where a token belongs
	complaints.RequireMetadata(c.Metadata)
	complaints.Require(c.PaymentMethod == "", "/payment_method", "is not available in this release: charge a source_account")
	return complaints.Refusal()
}

// ValidReference tells whether a payment may have the reference; "" is none.
func ValidReference(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsRune(text, 0) && utf8.RuneCountInString(text) <= referenceLengthMax
}

// RequireCurrency complains about a currency that nobody can be charged in.
func (c *Complaints) RequireCurrency(currency ledger.Currency) {
	c.Require(currency.Known(), "/currency", "must be an ISO 4217 code in upper case, for example USD")
}

// RequireMetadata complains about metadata that is too much.
func (c *Complaints) RequireMetadata(metadata map[string]string) {
	c.Require(len(metadata) <= metadataPairsMax, "/metadata", "must have at most 50 members")
	for key, value := range metadata {
		n := utf8.RuneCountInString(key)
		c.Require(n > 0 && n <= metadataKeyLengthMax, "/metadata", "must have names of 1 to 40 characters")
		c.Require(utf8.RuneCountInString(value) <= metadataValueLengthMax, "/metadata", "must have values of at most 500 characters")
		c.RequireNoCardNumber("/metadata", key)
		c.RequireNoCardNumber("/metadata", value)
	}
}

// RequireText complains about free text that has more characters than lengthMax, or a card's number.
func (c *Complaints) RequireText(pointer, text string, lengthMax int) {
	c.Require(utf8.RuneCountInString(text) <= lengthMax, pointer, fmt.Sprintf("must have at most %d characters", lengthMax))
	c.RequireNoCardNumber(pointer, text)
}

// RequireNoCardNumber complains about a card's number in free text. Names that the caller has for things (keys, references,
// account ids) are exempt: they are numbers often enough, and each of them says what it is.
func (c *Complaints) RequireNoCardNumber(pointer, text string) {
	c.Require(!cardnumber.In(text), pointer, "must not contain a card number: the service neither takes nor keeps them")
}
