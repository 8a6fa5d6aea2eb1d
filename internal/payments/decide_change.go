package payments

import (
	"errors"
	"fmt"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
)

// The decisions of this file change a payment that is there: they end an authorization, one way or the other, or give money
// back. Like decideCharge they are pure. Each looks at the locked payment, which holds the totals that decide, so of a hundred
// that come at once each sees what the ones before it did.

// decideCapture moves the money that an authorization holds, or a part of it; the rest is free again.
func decideCapture(b *books, claim idempotency.Claim, capture Capture) decision {
	payment, refusal := b.change(claim)
	if refusal != nil {
		return decision{refusal: refusal}
	}
	minor := payment.Amount.Minor
	if capture.Amount != nil {
		minor = *capture.Amount
	}
	switch {
	case !b.clock.Before(payment.AuthorizedUntil):
		return decision{refusal: refuseState("the authorization has expired")}
	case minor > payment.Amount.Minor:
		return decision{refusal: refuseTooLarge("more than the authorized", payment.Amount.Minor)}
	}
	b.ledger.Release(holdOf(payment))
	if err := b.ledger.Post(journalOf(payment, minor)); err != nil {
		if !errors.Is(err, ledger.ErrBalanceTooLarge) {
			panic(err) // what was held could be paid, so this is a bug; this capture alone fails
		}
		if err := b.ledger.Place(holdOf(payment)); err != nil {
			panic(err) // it was placed a moment ago
		}
		return decision{refusal: refuseField(CodeUnprocessable, "/amount", "would make a balance too large")}
	}
	payment.Status = StatusSucceeded
	payment.AmountCaptured = minor
	return b.changed(payment, decision{event: "payment.succeeded"})
}

// decideCancel frees what an authorization holds, and the payment's reference with it.
func decideCancel(b *books, claim idempotency.Claim) decision {
	payment, refusal := b.change(claim)
	if refusal != nil {
		return decision{refusal: refusal}
	}
	b.ledger.Release(holdOf(payment))
	if payment.Reference != "" {
		delete(b.references, reference{payment.MerchantID, payment.Reference})
	}
	payment.Status = StatusCanceled
	return b.changed(payment, decision{event: "payment.canceled"})
}

// decideExpire cancels an authorization whose time is over, by the database's clock.
func decideExpire(b *books, claim idempotency.Claim) decision {
	payment, refusal := b.change(claim)
	switch {
	case refusal != nil:
		return decision{refusal: refusal}
	case b.clock.Before(payment.AuthorizedUntil):
		return decision{refusal: refuseState("the authorization has not expired yet")}
	}
	return decideCancel(b, claim)
}

// decideRefund gives back what was captured, or a part of it. If the destination cannot pay, the refund is declined, which is
// an answer to keep like a declined charge.
func decideRefund(b *books, claim idempotency.Claim, request RefundRequest) decision {
	payment, refusal := b.change(claim)
	if refusal != nil {
		return decision{refusal: refusal}
	}
	minor := payment.Refundable()
	if request.Amount != nil {
		minor = *request.Amount
	}
	if minor > payment.Refundable() || minor == 0 {
		return decision{refusal: refuseTooLarge("more than what is left to refund,", payment.Refundable())}
	}
	refund := &Refund{
		MerchantID: payment.MerchantID, ID: request.id, PaymentID: payment.ID,
		Amount: ledger.Money{Minor: minor, Currency: payment.Amount.Currency},
		Status: RefundSucceeded, Reason: request.Reason, CreatedAt: b.now,
	}
	switch err := b.ledger.Post(refundJournalOf(payment, refund)); {
	case errors.Is(err, ledger.ErrInsufficientFunds):
		refund.Status = RefundDeclined
		refund.DeclineCode = DeclineInsufficientFunds
		return decision{payment: payment, refund: refund, event: "refund.declined"} // the payment is as it was
	case errors.Is(err, ledger.ErrBalanceTooLarge):
		return decision{refusal: refuseField(CodeUnprocessable, "/amount", "would make a balance too large")}
	case err != nil:
		panic(err) // the journal is wrong, which is a bug and no matter of data: this refund alone fails
	}
	payment.AmountRefunded += minor
	return b.changed(payment, decision{refund: refund, event: "refund.succeeded"})
}

// change returns a copy of the claim's payment, to be changed, if the claim's operation has a way to go from its state.
func (b *books) change(claim idempotency.Claim) (*Payment, *Refusal) {
	locked := b.payments[paymentOf(claim)]
	switch {
	case locked == nil:
		return nil, &Refusal{Code: CodeNotFound, Detail: ErrNotFound.Error()}
	case !locked.allows(claim.Operation):
		return nil, refuseState(fmt.Sprintf("the payment is %s", locked.Status))
	}
	payment := *locked
	return &payment, nil
}

// changed puts the payment back as it is now, under its next version, for the operations that follow.
func (b *books) changed(payment *Payment, d decision) decision {
	payment.Version++
	b.payments[paymentRef{payment.MerchantID, payment.ID}] = payment
	d.payment = payment
	return d
}

func refuseState(detail string) *Refusal { return &Refusal{Code: CodeInvalidState, Detail: detail} }

func refuseTooLarge(than string, limit int64) *Refusal {
	return refuseField(CodeAmountTooLarge, "/amount", fmt.Sprintf("the amount is %s %d", than, limit))
}

// refundJournalOf is a payment's journal the other way round.
func refundJournalOf(p *Payment, r *Refund) ledger.Journal {
	return ledger.Journal{
		MerchantID: p.MerchantID, ID: r.ID, PaymentID: p.ID, Currency: p.Amount.Currency,
		Lines: []ledger.Line{
			{AccountID: p.DestinationAccount, Minor: -r.Amount.Minor},
			{AccountID: p.SourceAccount, Minor: r.Amount.Minor},
		},
	}
}
