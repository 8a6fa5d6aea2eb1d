package cards

import (
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

// The operations of attempts.
const (
	operationCharge    = "charge"
	operationAuthorize = "authorize"
	operationCapture   = "capture"
	operationCancel    = "cancel"
	operationExpire    = "expire"
	operationRefund    = "refund"
)

// makesIntent tells whether the operation charges: it makes the payment's intent. The
// others work on that intent.
func makesIntent(operation string) bool {
	return operation == operationCharge || operation == operationAuthorize
}

// The steps that change something at the processor, by the names that its keys have.
const (
	stepPrepare = "prepare"
	stepConfirm = "confirm"
	stepCapture = "capture"
	stepCancel  = "cancel"
	stepRefund  = "refund"
)

// action is what follows from the state of an intent. One of step, settle, review and
// wait is set.
type action struct {
	step     string          // the call to make next
	settle   payments.Status // the result to settle
	decline  string          // the decline code of a cancel or of a settlement
	captured int64           // the amount, if it is not the one that was asked for
	review   string          // why a person has to decide
	wait     string          // why the processor has to be asked again later
}

// plan is pure: it says what follows for an attempt from the state of its intent.
func plan(a *Attempt, intent *stripe.Intent) action {
	switch a.Operation {
	case operationCharge, operationAuthorize:
		return planCharge(a, intent)
	case operationCapture:
		return planCapture(a, intent)
	default:
		return planCancel(intent)
	}
}

func planCharge(a *Attempt, intent *stripe.Intent) action {
	switch intent.Status {
	case stripe.RequiresConfirmation:
		if a.DeclineCode != "" { // the processor has refused to confirm it
			return action{step: stepCancel, decline: a.DeclineCode}
		}
		return action{step: stepConfirm}
	case stripe.RequiresPaymentMethod:
		return action{step: stepCancel, decline: declineCode(a, intent)}
	case stripe.RequiresAction: // there is no customer to ask
		return action{step: stepCancel, decline: stripe.DeclineAuthenticationRequired}
	case stripe.Canceled:
		return action{settle: payments.StatusDeclined, decline: declineCode(a, intent)}
	case stripe.RequiresCapture:
		if a.Operation == operationAuthorize && intent.AmountCapturable == a.Amount {
			return action{settle: payments.StatusAuthorized}
		}
		return action{
			review: "the processor holds money that was to be charged, or another amount",
		}
	case stripe.Succeeded:
		if a.Operation == operationCharge && intent.AmountReceived == a.Amount {
			return action{settle: payments.StatusSucceeded}
		}
		if a.Operation == operationAuthorize && intent.Manual && intent.Amount == a.Amount {
			// It was held, and captured since: a restored backup lacks both, or somebody has
			// captured at the dashboard. A capture follows, or reconciliation shows it.
			return action{settle: payments.StatusAuthorized}
		}
		return action{review: "the processor has charged what was to be held, or another amount"}
	case stripe.Processing:
	}
	return action{wait: "the intent is " + string(intent.Status)}
}

func planCapture(a *Attempt, intent *stripe.Intent) action {
	switch intent.Status {
	case stripe.RequiresCapture:
		return action{step: stepCapture}
	case stripe.Succeeded:
		if intent.AmountReceived == a.Amount {
			return action{settle: payments.StatusSucceeded}
		}
		return action{review: "the processor has captured another amount"}
	case stripe.Canceled:
		return action{settle: payments.StatusCanceled}
	case stripe.RequiresPaymentMethod, stripe.RequiresConfirmation, stripe.RequiresAction:
		return action{review: "the intent of an authorized payment is " + string(intent.Status)}
	case stripe.Processing:
	}
	return action{wait: "the intent is " + string(intent.Status)}
}

func planCancel(intent *stripe.Intent) action {
	switch intent.Status {
	case stripe.Canceled:
		return action{settle: payments.StatusCanceled}
	case stripe.Succeeded:
		return action{review: "the processor has captured what was to be canceled"}
	case stripe.RequiresPaymentMethod, stripe.RequiresConfirmation, stripe.RequiresAction,
		stripe.RequiresCapture, stripe.Processing:
	}
	return action{step: stepCancel}
}

// planRefund is what follows from the state of a refund.
func planRefund(a *Attempt, refund *stripe.Refund) action {
	switch refund.Status {
	case stripe.RefundSucceeded:
		if refund.Amount == a.Amount {
			return action{settle: payments.StatusSucceeded}
		}
		return action{review: "the processor has refunded another amount"}
	case stripe.RefundFailed, stripe.RefundCanceled:
		return notDone
	case stripe.RefundPending, stripe.RefundRequiresAction:
	}
	return action{wait: "the refund is " + string(refund.Status)}
}

// declineCode is the decline code of a failed intent: first the code that was committed
// before the intent was canceled, then the intent's own.
func declineCode(a *Attempt, intent *stripe.Intent) string {
	switch {
	case a.DeclineCode != "":
		return a.DeclineCode
	case intent.DeclineCode != "":
		return intent.DeclineCode
	}
	return payments.DeclineProcessingError
}
