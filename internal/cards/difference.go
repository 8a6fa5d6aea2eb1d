package cards

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

// Kind says what differs between the processor's books and ours.
type Kind string

// The kinds of differences.
const (
	KindNotHere        Kind = "not_here"         // money there, no payment here
	KindNotThere       Kind = "not_there"        // a payment here, no money there
	KindChargedTwice   Kind = "charged_twice"    // a second intent of one attempt has the money
	KindNotPaidHere    Kind = "not_paid_here"    // money there; declined or canceled here
	KindStillOpen      Kind = "still_open"       // over here; can still be confirmed there
	KindOtherAmount    Kind = "other_amount"     // the amounts differ
	KindCapturedThere  Kind = "captured_there"   // by a person at the dashboard
	KindCanceledThere  Kind = "canceled_there"   // by a person, or at the end of its time
	KindRefundedThere  Kind = "refunded_there"   // by a person at the dashboard
	KindRefundedTwice  Kind = "refunded_twice"   // one refund of ours was made more than once
	KindRefundNotHere  Kind = "refund_not_here"  // ours by its metadata
	KindRefundNotThere Kind = "refund_not_there" // booked here only
	KindRefundStatus   Kind = "refund_status"    // the two ended differently
	KindDisputed       Kind = "disputed"         // the cardholder has objected
	KindUnfinished     Kind = "unfinished"       // an attempt is not settled
)

// Difference is one row of a reconciliation.
type Difference struct {
	Kind Kind
	// Note: the books do not differ, but a person may want to know.
	Note       bool
	MerchantID int64
	AttemptID  uuid.UUID
	PaymentID  uuid.UUID // zero: there is no payment
	IntentID   string
	OtherID    string // of the refund or dispute, at the processor
	Detail     string // what the two sides say
	Remedy     string // what a person can do
}

// payment is the payment's id; "" if there is none.
func (d *Difference) payment() string {
	if d.PaymentID == (uuid.UUID{}) {
		return ""
	}
	return payments.FormatID(d.PaymentID)
}

const restored = "Probably a backup was restored. "

// grace is how long an attempt may be unsettled without a row.
const grace = 2 * time.Minute

// remedies say what a person can do. docs/operations.md explains them.
var remedies = map[Kind]string{
	KindNotHere:       restored, // and what depends on its time
	KindRefundNotHere: restored,
	KindNotThere: "Check that STRIPE_SECRET_KEY is of the account that charged it. " +
		"If it is, the service has told of money that did not come.",
	KindChargedTwice: "Refund this intent at the processor: the other one is the payment's.",
	KindNotPaidHere:  "Refund or cancel this intent at the processor: the merchant was told no.",
	KindStillOpen:    "Cancel this intent at the processor.",
	KindOtherAmount: "Refund what is too much at the processor, or book it by hand between two " +
		"accounts.",
	KindCapturedThere: "Capture the same amount here with POST /payments/PAYMENT/capture: the " +
		"processor is not charged again.",
	KindCanceledThere: "Cancel it here with POST /payments/PAYMENT/cancel.",
	KindRefundedThere: "Book it by hand: charge the destination account, to an account for " +
		"refunds made elsewhere. Do not refund it here: the card would be paid twice.",
	KindRefundedTwice: "Cancel the second refund at the processor if it still can be, or book " +
		"it by hand as one made elsewhere. Report it: this is a fault of the service.",
	KindRefundNotThere: "Look at the intent in the dashboard. If the cardholder was not paid, " +
		"refund there.",
	KindRefundStatus: "Look at the refund in the dashboard. If it failed after it was booked, " +
		"the money is back at the processor: pay the cardholder in another way, or book it by " +
		"hand.",
	KindDisputed: "Answer it in the dashboard before its date. Until it is won, the processor " +
		"has taken the amount: book it by hand as for a refund made elsewhere.",
	KindUnfinished: "paymentsvc attempts show ATTEMPT says why. In review: paymentsvc attempts " +
		"resolve.",
}

func (b *booked) difference(kind Kind, intentID, detail string) *Difference {
	return &Difference{
		Kind: kind, MerchantID: b.ref.merchantID, AttemptID: b.ref.id, PaymentID: b.paymentID,
		IntentID: intentID, Detail: detail,
		Remedy: strings.NewReplacer("PAYMENT", payments.FormatID(b.paymentID),
			"ATTEMPT", b.ref.id.String()).Replace(remedies[kind]),
	}
}

// hasMoney tells whether an intent has taken money, or holds it.
func hasMoney(intent *stripe.Intent) bool {
	return intent.Status == stripe.Succeeded || intent.Status == stripe.RequiresCapture
}

// compareIntent is pure: it says how an intent of ours differs from our books, if it
// does. b is nil if we have no such attempt.
func compareIntent(intent *stripe.Intent, b *booked, now time.Time) *Difference {
	there := fmt.Sprintf("the processor says %s %s", intent.Amount, intent.Status)
	switch {
	case b == nil && hasMoney(intent):
		return &Difference{
			Kind: KindNotHere, MerchantID: intent.MerchantID, AttemptID: intent.AttemptID,
			IntentID: intent.ID, Detail: there + "; here is no payment",
		}
	case b == nil:
		return nil // it moved no money
	case !b.waitsSince.IsZero():
		return compareUnfinished(intent, b, now)
	case b.intentID != intent.ID && hasMoney(intent):
		return b.difference(KindChargedTwice, intent.ID, there+"; the payment has "+b.intentID)
	case b.intentID != intent.ID:
		return nil // a lost answer left it, unconfirmed
	}
	here := fmt.Sprintf("%s; here it is %s", there, b.status)
	switch b.status {
	case payments.StatusSucceeded:
		return b.compareAmount(intent, stripe.Succeeded, intent.AmountReceived, b.captured, here)
	case payments.StatusAuthorized:
		switch intent.Status { //nolint:exhaustive // the others are compared below
		case stripe.Succeeded:
			return b.difference(KindCapturedThere, intent.ID,
				fmt.Sprintf("%s, %s captured", here, intent.AmountReceived))
		case stripe.Canceled:
			return b.difference(KindCanceledThere, intent.ID, here)
		}
		return b.compareAmount(intent, stripe.RequiresCapture, intent.AmountCapturable, b.amount,
			here)
	case payments.StatusDeclined, payments.StatusCanceled:
		switch {
		case hasMoney(intent):
			return b.difference(KindNotPaidHere, intent.ID, here)
		case intent.Status != stripe.Canceled:
			return b.difference(KindStillOpen, intent.ID, here)
		}
	case payments.StatusProcessing: // its attempt is unfinished, or the audit reports it
	}
	return nil
}

func (b *booked) compareAmount(
	intent *stripe.Intent, status stripe.Status, there, here ledger.Money, detail string,
) *Difference {
	switch {
	case intent.Status != status:
		return b.difference(KindNotThere, intent.ID, detail)
	case there != here:
		return b.difference(KindOtherAmount, intent.ID,
			fmt.Sprintf("%s: %s there, %s here", detail, there, here))
	}
	return nil
}

// compareUnfinished compares a payment with an attempt that is not settled. The books
// differ if the intent has its final state.
func compareUnfinished(intent *stripe.Intent, b *booked, now time.Time) *Difference {
	if now.Sub(b.waitsSince) < grace {
		return nil
	}
	d := b.difference(KindUnfinished, intent.ID, fmt.Sprintf(
		"the processor says %s; an attempt is open since %s%s", intent.Status,
		b.waitsSince.UTC().Format(time.RFC3339), reviewed(b.inReview)))
	ended := intent.Status.Final() || intent.Status == stripe.RequiresCapture &&
		b.operation == operationAuthorize && b.status == payments.StatusProcessing
	d.Note = !ended
	return d
}

func reviewed(inReview bool) string {
	if inReview {
		return ", in review"
	}
	return ""
}

// compareRefund is pure: it says how a refund of ours differs from our books, if it
// does. b is nil if we have no such attempt.
func compareRefund(refund *stripe.Refund, b *booked, now time.Time) *Difference {
	gone := refund.Status.Failed()
	there := fmt.Sprintf("the processor says refund of %s %s", refund.Amount, refund.Status)
	var d *Difference
	switch {
	case b == nil && gone:
		return nil
	case b == nil:
		d = &Difference{
			Kind: KindRefundNotHere, MerchantID: refund.MerchantID, AttemptID: refund.AttemptID,
			IntentID: refund.IntentID, Detail: there + "; here is none",
		}
	case b.state != StateSettled:
		if now.Sub(b.createdAt) < grace {
			return nil
		}
		d = b.difference(KindUnfinished, refund.IntentID, fmt.Sprintf(
			"%s; its attempt is %s since %s", there, b.state,
			b.createdAt.UTC().Format(time.RFC3339)))
		d.Note = !gone && refund.Status != stripe.RefundSucceeded
	case (b.refund == payments.RefundSucceeded) != (refund.Status == stripe.RefundSucceeded):
		d = b.difference(KindRefundStatus, refund.IntentID,
			fmt.Sprintf("%s; here it is %s", there, b.refund))
	case b.refund == payments.RefundSucceeded && refund.Amount.Minor != b.minor:
		d = b.difference(KindOtherAmount, refund.IntentID,
			fmt.Sprintf("%s; here it is %d", there, b.minor))
	default:
		return nil
	}
	d.OtherID = refund.ID
	return d
}

// refundedElsewhere is how much of an intent was refunded without this service, and is
// not in our books. It is negative if our books have more refunds than the processor. A
// booked refund may lack our metadata, because a person made it and resolved its
// attempt.
func refundedElsewhere(intent *stripe.Intent, refunds []stripe.Refund, booked int64) int64 {
	released := int64(0) // the rest of a partial capture: the first refund, of that amount
	if intent.Manual {
		released = intent.Amount.Minor - intent.AmountReceived.Minor
	}
	var ours, others int64
	for i := len(refunds) - 1; i >= 0; i-- { // the oldest first
		refund := &refunds[i]
		switch {
		case refund.Status.Failed():
		case refund.Owner != stripe.Owner{}:
			ours += refund.Amount.Minor
		case refund.Amount.Minor == released:
			released = 0
		default:
			others += refund.Amount.Minor
		}
	}
	return others - max(booked-ours, 0)
}
