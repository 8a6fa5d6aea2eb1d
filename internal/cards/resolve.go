package cards

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

// Decision is what a person has decided about an attempt.
type Decision string

// The decisions. Each one asks the processor first: a result that the processor
// contradicts is never settled.
const (
	DecideRetry       Decision = "retry"        // work on it again
	DecideDeclined    Decision = "declined"     // of a charge: cancel its intent
	DecideCaptured    Decision = "captured"     // of a capture, cancellation or expiry: follow it
	DecideRefunded    Decision = "refunded"     // of a refund: the processor has made it
	DecideNotRefunded Decision = "not_refunded" // of a refund: it has not, and will not
)

// Reasons for which a decision has changed nothing.
var (
	// ErrLeased means that an instance works on the attempt, or will in seconds.
	ErrLeased = errors.New("an instance works on the attempt, or is about to")
	// ErrContradicted means that the processor's books do not allow the decision. The attempt
	// waits for a person.
	ErrContradicted = errors.New("the processor's books do not agree")
	// ErrWrongKind means that the decision is for attempts of another operation.
	ErrWrongKind = errors.New("this decision is not for an attempt of this operation")
)

// Resolve carries out a person's decision, and returns the attempt as it is afterwards.
// It works under a lease of its own, which fences an instance with an older lease. If
// the process dies meanwhile, any instance takes the attempt over.
func (s *Service) Resolve(
	ctx context.Context, merchantID int64, id uuid.UUID, decision Decision,
) (*Attempt, error) {
	ref := attemptRef{merchantID, id}
	a, err := s.find(ctx, ref)
	if err != nil {
		return nil, err
	}
	if err := decision.check(a); err != nil {
		return a, err
	}
	if a, err = s.leaseForDecision(ctx, a); err != nil {
		return a, err
	}
	s.logger.InfoContext(ctx, "a person decides about an attempt",
		a.attributes("decision", string(decision), "problem", a.Problem)...)
	if decision == DecideRetry {
		err = s.release(ctx, a, 0, a.Problem)
	} else {
		err = s.carryOut(ctx, a, decision)
	}
	now, errFind := s.find(ctx, ref)
	return now, errors.Join(err, errFind)
}

func (d Decision) check(a *Attempt) error {
	var fits bool
	switch d {
	case DecideRetry:
		fits = true
	case DecideDeclined:
		fits = makesIntent(a.Operation)
	case DecideCaptured:
		fits = !makesIntent(a.Operation) && a.Operation != operationRefund
	case DecideRefunded, DecideNotRefunded:
		fits = a.Operation == operationRefund
	}
	switch {
	case a.State == StateSettled:
		return payments.ErrSettled
	case !fits:
		return fmt.Errorf("%w: it is a %s", ErrWrongKind, a.Operation)
	}
	return nil
}

// leaseForDecision leases the attempt, unless an instance has a lease. The state becomes
// open, because a write under a lease requires that.
func (s *Service) leaseForDecision(ctx context.Context, a *Attempt) (*Attempt, error) {
	leased, err := collectAttempts(ctx, s.pool, `
		WITH leased AS (
			UPDATE processor_attempts
			SET state = 'open', token = token + 1, due_at = statement_timestamp() + $3
			WHERE merchant_id = $1 AND id = $2
				AND (state = 'review' OR state = 'open' AND due_at <= statement_timestamp())
			RETURNING `+leasedColumns+`)
		SELECT `+attemptColumns+`
		FROM leased a`+paymentOfAttempt, a.MerchantID, a.ID, s.leaseTime)
	switch {
	case err != nil:
		return a, err
	case len(leased) == 0:
		return a, ErrLeased
	}
	return leased[0], nil
}

// carryOut asks the processor, and settles the result. If there is none, the attempt
// goes back to review with the reason. So no instance confirms a charge that a person
// has declined.
func (s *Service) carryOut(ctx context.Context, a *Attempt, decision Decision) error {
	var next action
	var err error
	switch decision { //nolint:exhaustive // a retry is not carried out
	case DecideDeclined:
		next, err = s.cancelIntent(ctx, a)
	case DecideCaptured:
		next, err = s.followCapture(ctx, a)
	default:
		next, err = s.lookForRefund(ctx, a, decision)
	}
	if err == nil && next.settle != "" {
		if err = s.settle(ctx, a, next); !errors.Is(err, payments.ErrNotSettled) {
			return err
		}
	}
	reason := next.review + next.wait
	if err != nil {
		reason = err.Error()
	}
	ctx = context.WithoutCancel(ctx)
	var errBack error
	if next.wait != "" && a.Operation == operationRefund {
		errBack = s.release(ctx, a, retryDelayMax, reason) // the refund is pending
	} else {
		errBack = s.review(ctx, a, reason)
	}
	if err == nil {
		err = fmt.Errorf("%w: %s", ErrContradicted, reason)
	}
	return errors.Join(err, errBack)
}

// cancelIntent cancels the intent of a charge, unless its state is final, and retrieves
// it. A canceled intent is settled as declined, and one that has succeeded as succeeded.
func (s *Service) cancelIntent(ctx context.Context, a *Attempt) (action, error) {
	if a.IntentID == "" {
		if next, err := s.intentToEnd(ctx, a); a.IntentID == "" || err != nil {
			return next, err
		}
	}
	intent, next, err := s.retrieve(ctx, a)
	if intent == nil {
		return next, err
	}
	if !intent.Status.Final() {
		decline := declineCode(a, intent)
		if planned := plan(a, intent); planned.decline != "" {
			decline = planned.decline
		}
		if intent, next, err = s.doStep(ctx, a,
			action{step: stepCancel, decline: decline}); err != nil ||
			next != (action{}) {
			return next, err
		}
		if intent == nil {
			if intent, next, err = s.retrieve(ctx, a); intent == nil {
				return next, err
			}
		}
	}
	if next = plan(a, intent); next.step != "" {
		return action{wait: "the intent is still " + string(intent.Status)}, nil
	}
	return next, nil
}

// intentToEnd finds the intent of a charge whose books know none. It may be paid: a backup
// was restored. The attempt's key leads to it, unless the processor refuses the request or
// has other parameters under that key. Then its list does. If there is none, the charge is
// declined.
func (s *Service) intentToEnd(ctx context.Context, a *Attempt) (action, error) {
	_, next, err := s.prepare(ctx, a, false)
	if err != nil || next.wait != "" || a.IntentID != "" {
		return next, err
	}
	next, err = s.findIntent(ctx, a, a.CreatedAt.Add(-DefaultReach))
	if err != nil || next != (action{}) || a.IntentID != "" {
		return next, err
	}
	return action{settle: payments.StatusDeclined, decline: payments.DeclineProcessingError}, nil
}

// followCapture settles what a person has captured at the processor's dashboard, although
// the attempt was to capture another amount, or to end the authorization. The processor
// cannot undo a capture.
func (s *Service) followCapture(ctx context.Context, a *Attempt) (action, error) {
	intent, next, err := s.retrieve(ctx, a)
	if intent == nil {
		return next, err
	}
	if planned := plan(a, intent); planned.settle != "" {
		return planned, nil
	}
	if intent.Status != stripe.Succeeded || intent.AmountReceived.Currency != a.Amount.Currency {
		return action{
			review: "the processor has captured nothing: the intent is " + string(intent.Status),
		}, nil
	}
	return action{
		settle: payments.StatusSucceeded, captured: intent.AmountReceived.Minor,
	}, nil
}

// lookForRefund looks for the refund at the processor, and settles the one that it
// finds. A refund without our metadata counts as made by a person in its place, unless
// our books already account for it.
func (s *Service) lookForRefund(
	ctx context.Context, a *Attempt, decision Decision,
) (action, error) {
	if a.IntentID == "" {
		return action{review: "the payment has no intent"}, nil
	}
	refunds, err := s.processor.Refunds(ctx, a.IntentID)
	if err != nil {
		return action{}, err
	}
	if refund := refundOf(s.owner(a), refunds); refund != nil {
		return planRefund(a, refund), nil
	}
	if decision == DecideNotRefunded {
		return notDone, nil
	}
	intent, next, err := s.retrieve(ctx, a)
	if intent == nil {
		return next, err
	}
	books, err := s.readBooked(ctx, a.ref())
	if err != nil {
		return action{}, err
	}
	if refundedElsewhere(intent, refunds, books[a.ref()].refunded) < a.Amount.Minor {
		return action{review: "the intent has no refund of this amount"}, nil
	}
	return action{settle: payments.StatusSucceeded}, nil
}
