package payments

import (
	"errors"
	"fmt"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
)

// decideCharge decides a charge on the books as they stand. It is pure: no I/O, no clock but the books'.
//
// What depends on things that may change (an account that does not exist yet, a reference that another payment holds) is
// refused, and the key stays free. A source that cannot pay is declined: that is an answer to keep, or a retry could succeed
// behind the back of a caller who was told no.
func decideCharge(b *books, claim idempotency.Claim, charge Charge) decision {
	if refusal := refuseCharge(b, claim, charge); refusal != nil {
		return decision{refusal: refusal}
	}
	payment := &Payment{
		MerchantID:         claim.MerchantID,
		ID:                 claim.PaymentID,
		Amount:             charge.Amount,
		SourceAccount:      charge.SourceAccount,
		DestinationAccount: charge.DestinationAccount,
		Reference:          charge.Reference,
		Description:        charge.Description,
		Metadata:           charge.Metadata,
		Version:            1,
		CreatedAt:          b.now,
	}
	switch err := b.payFor(payment, charge.AuthorizeOnly); {
	case errors.Is(err, ledger.ErrInsufficientFunds):
		payment.Status = StatusDeclined
		payment.DeclineCode = DeclineInsufficientFunds
		return decision{payment: payment, event: "payment.declined"}
	case errors.Is(err, ledger.ErrBalanceTooLarge):
		return decision{refusal: refuseField(CodeUnprocessable, "/amount", "would make a balance too large")}
	case err != nil:
		panic(err) // the journal is wrong, which is a bug and no matter of data: this charge alone fails
	}
	if charge.Reference != "" {
		b.references[reference{claim.MerchantID, charge.Reference}] = payment.ID
	}
	return decision{payment: payment, event: "payment." + string(payment.Status)}
}

// payFor moves the money of a new payment, or holds it to be captured later. On an error it has done neither.
func (b *books) payFor(payment *Payment, authorizeOnly bool) error {
	if authorizeOnly {
		if err := b.ledger.Place(holdOf(payment)); err != nil {
			return err
		}
		payment.Status = StatusAuthorized
		payment.AuthorizedUntil = b.clock.Add(b.authorizedFor)
		return nil
	}
	if err := b.ledger.Post(journalOf(payment, payment.Amount.Minor)); err != nil {
		return err
	}
	payment.Status = StatusSucceeded
	payment.AmountCaptured = payment.Amount.Minor
	return nil
}

// refuseCharge looks for what forbids the charge, before any money is looked at.
func refuseCharge(b *books, claim idempotency.Claim, charge Charge) *Refusal {
	sides := []struct{ pointer, id string }{
		{"/source_account", charge.SourceAccount},
		{"/destination_account", charge.DestinationAccount},
	}
	for _, side := range sides {
		account, found := b.ledger.Account(ledger.Ref{MerchantID: claim.MerchantID, AccountID: side.id})
		switch {
		case !found:
			return refuseField(CodeAccountNotFound, side.pointer, "there is no such account")
		case account.Status != ledger.StatusOpen:
			return refuseField(CodeAccountClosed, side.pointer, "the account is closed")
		case account.Currency != charge.Amount.Currency:
			return refuseField(CodeCurrencyMismatch, side.pointer,
				fmt.Sprintf("the account is in %s, the charge in %s", account.Currency, charge.Amount.Currency))
		}
	}
	if holder, taken := b.references.holder(reference{claim.MerchantID, charge.Reference}); taken {
		refusal := refuseField(CodeDuplicateReference, "/reference", "another payment already has this reference")
		refusal.PaymentID = holder
		return refusal
	}
	return nil
}

// journalOf is how a payment moves money when it captures: out of its source, into its destination.
func journalOf(p *Payment, minor int64) ledger.Journal {
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

// holdOf is what an authorized payment sets aside.
func holdOf(p *Payment) ledger.Hold {
	return ledger.Hold{
		MerchantID: p.MerchantID, Currency: p.Amount.Currency, Minor: p.Amount.Minor,
		Source: p.SourceAccount, Destination: p.DestinationAccount,
	}
}
