package payments

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/validate"
)

// Limits of what a caller may write on a payment, in characters.
const (
	descriptionLengthMax = 500
	referenceLengthMax   = 128
)

// Charge is a request to move money between two accounts of one merchant, or from a card
// to an account.
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

// Charge charges once under the caller's key. The same request under the same key gets
// the same answer, however often it comes and wherever it goes. A *Refusal or a
// *validate.Error means that this call did nothing. (With CodeKeyExpired an earlier one
// did: the payment is named.) After any other error the same key finds out what happened.
func (s *Service) Charge(ctx context.Context, caller Caller, charge Charge) (Reply, error) {
	op := newCharge(caller, charge)
	if err := charge.check(); err != nil {
		return s.replayOrRefuse(ctx, op, err)
	}
	if charge.PaymentMethod != "" {
		return s.chargeCard(ctx, op, charge.Amount)
	}
	return s.do(ctx, op)
}

// check finds what is wrong with the request by itself, whatever the books say.
func (c *Charge) check() error {
	var fields validate.Fields
	requireAmount(&fields, &c.Amount.Minor)
	ledger.RequireCurrency(&fields, c.Amount.Currency)
	fields.Require(c.SourceAccount != c.DestinationAccount, "/destination_account",
		"must differ from source_account")
	fields.Require(ValidReference(c.Reference), "/reference", "must have at most 128 characters")
	fields.RequireText("/description", c.Description, descriptionLengthMax)
	fields.RequireNoCardNumber("/payment_method", c.PaymentMethod) // where a token belongs
	fields.RequireMetadata(c.Metadata)
	fields.Require(c.PaymentMethod == "" || paymentMethodForm.MatchString(c.PaymentMethod),
		"/payment_method", "must be the processor's token: 1 to 255 letters, digits and _")
	fields.Require(!ledger.IsServiceAccount(c.SourceAccount), "/source_account",
		ledger.ErrServiceAccount.Error())
	fields.Require(!ledger.IsServiceAccount(c.DestinationAccount), "/destination_account",
		ledger.ErrServiceAccount.Error())
	return fields.Err()
}

// ValidReference tells whether a payment may have the reference; "" is none.
func ValidReference(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsRune(text, 0) &&
		utf8.RuneCountInString(text) <= referenceLengthMax
}

// fingerprint is the canonical form of the request. Never change what it writes for a
// given Charge: stored fingerprints are for ever. A new field is left out when it has
// its default, and so changes nothing for older requests.
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

// newCharge makes the operation: the rows that it claims and locks, and its decision.
func newCharge(caller Caller, charge Charge) *operation {
	return &operation{
		claim: idempotency.Claim{
			Key:         caller.Key,
			Operation:   operationCharge,
			Fingerprint: charge.fingerprint(),
			RequestID:   caller.RequestID,
			PaymentID:   newID(),
		},
		reference: charge.Reference,
		accounts: []ledger.Ref{
			{MerchantID: caller.Key.MerchantID, AccountID: charge.source()},
			{MerchantID: caller.Key.MerchantID, AccountID: charge.DestinationAccount},
		},
		decide: func(st *state, claim *idempotency.Claim) decision {
			return decideCharge(st, claim, &charge)
		},
	}
}

// decideCharge is pure: no I/O, and no clock but that of the state.
//
// What depends on things that may change (an account that does not exist yet, a
// reference that another payment holds) is refused, and the key stays free. A source
// that cannot pay is declined: that answer is stored. Otherwise a retry could succeed
// behind the back of a caller who was told no.
func decideCharge(st *state, claim *idempotency.Claim, charge *Charge) decision {
	if refusal := refuseCharge(st, claim.MerchantID, charge); refusal != nil {
		return decision{refusal: refusal}
	}
	payment := &Payment{
		MerchantID:         claim.MerchantID,
		ID:                 claim.PaymentID,
		Amount:             charge.Amount,
		SourceAccount:      charge.source(),
		PaymentMethod:      charge.PaymentMethod,
		DestinationAccount: charge.DestinationAccount,
		Reference:          charge.Reference,
		Description:        charge.Description,
		Metadata:           charge.Metadata,
		Version:            1,
		CreatedAt:          st.now,
		key:                claim.Value,
	}
	switch err := st.pay(payment, charge.AuthorizeOnly); {
	case errors.Is(err, ledger.ErrInsufficientFunds):
		payment.Status = StatusDeclined
		payment.DeclineCode = DeclineInsufficientFunds
		return decision{payment: payment, event: "payment.declined"}
	case errors.Is(err, ledger.ErrBalanceTooLarge):
		return decision{refusal: refuseBalance()}
	case err != nil:
		panic(err) // a bug: groupcommit splits the batch until this charge fails alone
	}
	st.references.take(charge.Reference, payment)
	if payment.Status == StatusProcessing {
		return decision{
			payment: payment, event: "payment.processing",
			begun: st.begin(claim, charge.operation(), payment, payment.Amount.Minor),
		}
	}
	return decision{payment: payment, event: "payment." + string(payment.Status)}
}

// pay moves the money of a new payment, or holds it to be captured later. That of a card
// is the processor's to move. On an error nothing was done.
func (st *state) pay(payment *Payment, authorizeOnly bool) error {
	if payment.byCard() {
		return st.payByCard(payment, authorizeOnly)
	}
	if authorizeOnly {
		if err := st.book.Place(payment.hold()); err != nil {
			return err
		}
		payment.Status = StatusAuthorized
		payment.AuthorizedUntil = st.clock.Add(st.authorizedFor)
		return nil
	}
	if err := st.book.Post(payment.journal(payment.Amount.Minor)); err != nil {
		return err
	}
	payment.Status = StatusSucceeded
	payment.AmountCaptured = payment.Amount.Minor
	return nil
}

// refuseCharge looks for what forbids the charge, before any money is looked at.
func refuseCharge(st *state, merchantID int64, charge *Charge) *Refusal {
	sides := []struct{ pointer, id string }{
		{"/source_account", charge.source()},
		{"/destination_account", charge.DestinationAccount},
	}
	if charge.PaymentMethod != "" {
		slices.Reverse(sides) // only a charge that is possible opens a clearing account
	}
	for _, side := range sides {
		account, found := st.book.Account(ledger.Ref{MerchantID: merchantID, AccountID: side.id})
		switch {
		case !found && ledger.IsServiceAccount(side.id):
			return errNoClearing
		case !found:
			return refuseField(CodeAccountNotFound, side.pointer, "there is no such account")
		case account.Status != ledger.StatusOpen:
			return refuseField(CodeAccountClosed, side.pointer, "the account is closed")
		case account.Currency != charge.Amount.Currency:
			return refuseField(CodeCurrencyMismatch, side.pointer, fmt.Sprintf(
				"the account is in %s, the charge in %s", account.Currency,
				charge.Amount.Currency))
		}
	}
	if holder, taken := st.references.holder(reference{merchantID, charge.Reference}); taken {
		refusal := refuseField(CodeDuplicateReference, "/reference",
			"another payment already has this reference")
		refusal.PaymentID = holder
		return refusal
	}
	return nil
}
