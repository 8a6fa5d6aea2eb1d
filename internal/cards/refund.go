package cards

import (
	"context"
	"errors"

	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

// workRefund asks for a refund. There is nothing to prepare, so the refund itself must not
// be asked for twice: after an interruption it is looked for in the intent's refunds. If
// it is not there, it is asked for under the same key again, while the processor certainly
// knows the key. After that time a person has to look.
func (s *Service) workRefund(ctx context.Context, a *Attempt, fresh bool) (action, error) {
	if a.IntentID == "" {
		return action{review: "the payment has no intent"}, nil
	}
	if err := s.renew(ctx, a); err != nil {
		return action{}, err
	}
	if !fresh {
		found, err := s.findRefund(ctx, a)
		switch {
		case err != nil:
			return waitOrReview(err), nil
		case found != nil:
			return planRefund(a, found), nil
		case a.DueAt.Sub(a.CreatedAt) > s.resendWindow:
			return action{review: "the processor has no such refund, and may have forgotten the " +
				"key under which it was asked"}, nil
		}
	}
	refund, err := s.processor.Refund(ctx, s.key(a, stepRefund), a.IntentID, a.Amount, s.owner(a))
	failed, _ := errors.AsType[*stripe.Error](err)
	switch {
	case err == nil:
		return planRefund(a, &refund), nil
	case stripe.OutcomeOf(err) == stripe.NotDone && fresh:
		return refundDeclined, nil
	case stripe.OutcomeOf(err) == stripe.NotDone: // perhaps because an earlier call was late
		return s.lookAgain(ctx, a, refundDeclined)
	case replayedFault(failed): // another key could refund twice, if the first is only late
		return s.lookAgain(ctx, a, action{
			review: "the processor repeats a stored fault, and has no such refund",
		})
	}
	return waitOrReview(err), nil
}

var refundDeclined = action{
	settle: payments.StatusDeclined, decline: payments.DeclineProcessingError,
}

// lookAgain looks for the refund once more. Otherwise it returns what follows without it.
func (s *Service) lookAgain(ctx context.Context, a *Attempt, without action) (action, error) {
	found, err := s.findRefund(ctx, a)
	switch {
	case err != nil:
		return waitOrReview(err), nil
	case found != nil:
		return planRefund(a, found), nil
	}
	return without, nil
}

// findRefund looks for the attempt's refund in the list of its intent.
func (s *Service) findRefund(ctx context.Context, a *Attempt) (*stripe.Refund, error) {
	if err := s.renew(ctx, a); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	refunds, err := s.processor.Refunds(ctx, a.IntentID)
	if err != nil {
		return nil, err
	}
	for i := range refunds {
		if refunds[i].Owner == s.owner(a) {
			return &refunds[i], nil
		}
	}
	return nil, nil //nolint:nilnil // there is none
}
