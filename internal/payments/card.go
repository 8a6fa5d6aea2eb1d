package payments

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/validate"
)

// A card payment is two operations (doc.go). This file has the first, which begins an
// attempt, and settle.go has the second. Captures, cancellations and refunds of card
// payments begin in the same way.

// processorName is a part of the ids of clearing accounts.
const processorName = "stripe"

// paymentMethodForm is the form of a processor's token. The schema checks the same
// (payments_payment_method_form).
var paymentMethodForm = regexp.MustCompile(`^[A-Za-z0-9_]{1,255}$`)

// InProgress means that the request is still at the card processor. Its key is taken, and
// has no answer yet.
type InProgress struct {
	MerchantID int64
	AttemptID  uuid.UUID
	PaymentID  uuid.UUID
	// Begun means that this very request began the attempt. Its instance has to ask the
	// processor.
	Begun bool
}

// Refusal is the answer to a caller that does not wait any longer.
func (p *InProgress) Refusal() *Refusal {
	return &Refusal{
		Code: CodeKeyInProgress, PaymentID: p.PaymentID,
		Detail: "the card processor has not answered yet; the same key gets the answer later",
	}
}

func (p *InProgress) Error() string { return "the request is still at the card processor" }

// errNoClearing is the refusal of the first charge by card in a currency.
var errNoClearing = &Refusal{
	Code: CodeAccountNotFound, Pointer: "/payment_method",
	Detail: "there is no clearing account yet",
}

// chargeCard begins a charge by card. The first one of a merchant in a currency opens the
// clearing account.
func (s *Service) chargeCard(
	ctx context.Context, op *operation, amount ledger.Money,
) (Reply, error) {
	if err := s.checkPossible(amount); err != nil {
		return s.replayOrRefuse(ctx, op, err)
	}
	reply, err := s.do(ctx, op)
	if err != errNoClearing { //nolint:errorlint // never wrapped
		return reply, err
	}
	err = ledger.OpenClearing(ctx, s.pool, op.claim.MerchantID, processorName, amount.Currency)
	if err != nil {
		return Reply{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	again := *op
	return s.do(ctx, &again)
}

// checkPossible refuses an amount that the processor cannot take, and every charge by
// card if there is no processor.
func (s *Service) checkPossible(amount ledger.Money) error {
	var fields validate.Fields
	fields.Require(s.checkCard != nil, "/payment_method",
		"is not available: this service has no card processor (STRIPE_SECRET_KEY)")
	if s.checkCard != nil {
		if err := s.checkCard(amount); err != nil {
			fields.Require(false, "/amount", err.Error())
		}
	}
	return fields.Err()
}

// source is the account that the money comes from.
func (c *Charge) source() string {
	if c.PaymentMethod != "" {
		return ledger.ClearingAccount(processorName, c.Amount.Currency)
	}
	return c.SourceAccount
}

// operation is the operation of the charge's attempt.
func (c *Charge) operation() string {
	if c.AuthorizeOnly {
		return operationAuthorize
	}
	return operationCharge
}

// payByCard makes a new payment wait for the processor. It refuses an amount that could
// not be posted afterwards.
func (st *state) payByCard(payment *Payment, authorizeOnly bool) error {
	if !authorizeOnly {
		if err := st.book.Check(payment.journal(payment.Amount.Minor)); err != nil {
			return err
		}
	}
	payment.Status = StatusProcessing
	return st.book.Place(payment.hold())
}

// captureByCard begins a capture, if its amount could be posted afterwards.
func (st *state) captureByCard(
	claim *idempotency.Claim, payment *Payment, minor int64,
) decision {
	if refusal := st.refuseAmount(minor, payment); refusal != nil {
		return decision{refusal: refusal}
	}
	switch err := st.book.Check(payment.journal(minor)); {
	case errors.Is(err, ledger.ErrBalanceTooLarge):
		return decision{refusal: refuseBalance()}
	case err != nil:
		panic(err) // a bug: clearing accounts have no floor
	}
	return st.ask(claim, payment, minor)
}

// refuseAmount refuses a part of a card payment that the processor cannot be asked for.
func (st *state) refuseAmount(minor int64, payment *Payment) *Refusal {
	if st.checkCard == nil {
		return nil
	}
	amount := ledger.Money{Minor: minor, Currency: payment.Amount.Currency}
	if err := st.checkCard(amount); err != nil {
		return refuseField(CodeUnprocessable, "/amount", err.Error())
	}
	return nil
}

// refuseCardRefund refuses a card refund that the processor cannot take, and one from a
// closed account. A closed account may have an overdraft that could pay. But it may have
// nothing open, and so it cannot hold the refund.
func (st *state) refuseCardRefund(minor int64, payment *Payment) *Refusal {
	if !payment.byCard() {
		return nil
	}
	paid := ledger.Ref{MerchantID: payment.MerchantID, AccountID: payment.DestinationAccount}
	if account, _ := st.book.Account(paid); account.Status != ledger.StatusOpen {
		return refuseState("the account that was paid is closed")
	}
	return st.refuseAmount(minor, payment)
}
