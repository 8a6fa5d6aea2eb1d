package cards

import (
	"context"
	"errors"

	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

// workRefund asks for a refund. A refund has no step without money, so the call itself
// must not be made twice. First the refund is looked for among the refunds of the
// intent, even for a new attempt: a backup may have been restored. If it is not there,
// it is asked for, always under the same key, and only while the processor certainly
// knows the key. After that time a person has to decide.
func (s *Service) workRefund(ctx context.Context, a *Attempt, fresh bool) (action, error) {
	if a.IntentID == "" {
		return action{review: "the payment has no intent"}, nil
	}
	next, err := s.findRefund(ctx, a)
	if err != nil || next != (action{}) {
		return next, err
	}
	if !fresh && a.age(s.leaseTime) > s.resendWindow {
		return action{review: "the processor has no such refund, and may have forgotten the " +
			"key under which it was asked"}, nil
	}
	if err := s.renew(ctx, a); err != nil {
		return action{}, err
	}
	refund, err := s.processor.Refund(ctx, s.key(a, stepRefund), a.IntentID, a.Amount, s.owner(a))
	failed, _ := errors.AsType[*stripe.Error](err)
	var missing action // what follows if there is still no refund
	switch {
	case err == nil:
		return planRefund(a, &refund), nil
	case stripe.OutcomeOf(err) == stripe.NotDone:
		missing = notDone
	case replayedFault(failed): // another key could refund twice, if the first is only late
		missing.review = "the processor repeats a stored fault, and has no such refund"
	default:
		return waitOrReview(err), nil
	}
	next, err = s.findRefund(ctx, a) // an earlier call may have had its effect late
	if err != nil || next != (action{}) {
		return next, err
	}
	return missing, nil
}

// notDone is what follows if the processor has done nothing, and will not.
var notDone = action{
	settle: payments.StatusDeclined, decline: payments.DeclineProcessingError,
}

// findRefund looks for the attempt's refund among the refunds of its intent, and returns
// what follows from it: the zero action if there is none.
func (s *Service) findRefund(ctx context.Context, a *Attempt) (action, error) {
	if err := s.renew(ctx, a); err != nil {
		return action{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	refunds, err := s.processor.Refunds(ctx, a.IntentID)
	switch {
	case stripe.OutcomeOf(err) == stripe.NotDone:
		return action{review: "the processor does not know the intent: " + err.Error()}, nil
	case err != nil:
		return waitOrReview(err), nil
	}
	if refund := refundOf(s.owner(a), refunds); refund != nil {
		return planRefund(a, refund), nil
	}
	return action{}, nil
}

// refundOf is the owner's refund in a list; nil if there is none.
func refundOf(owner stripe.Owner, refunds []stripe.Refund) *stripe.Refund {
	for i := range refunds {
		if refunds[i].Owner == owner {
			return &refunds[i]
		}
	}
	return nil
}
