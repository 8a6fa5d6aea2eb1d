package cards

import (
	"context"
	"errors"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

// stepsMax is far above what a try needs: a declined charge has five steps.
const stepsMax = 20

// workIntent handles all operations but refunds. It returns what follows for our books.
//
// The functions that it calls return one of these:
//   - an intent: plan says what follows from it
//   - an action: the processor need not be asked any more
//   - neither: the intent has to be retrieved, because nothing is known of it
func (s *Service) workIntent(ctx context.Context, a *Attempt, fresh bool) (action, error) {
	intent, next, err := s.firstIntent(ctx, a, fresh)
	for range stepsMax {
		if err != nil || next != (action{}) {
			return next, err
		}
		if intent == nil {
			if intent, next, err = s.retrieve(ctx, a); intent == nil {
				continue
			}
		}
		planned := plan(a, intent)
		if planned.step == "" {
			return planned, nil
		}
		intent, next, err = s.doStep(ctx, a, planned)
	}
	return action{review: "the processor's answers lead nowhere"}, nil
}

// firstIntent returns the intent to begin with. An attempt that was interrupted has to
// retrieve it.
func (s *Service) firstIntent(
	ctx context.Context, a *Attempt, fresh bool,
) (*stripe.Intent, action, error) {
	switch {
	case a.IntentID == "" && makesIntent(a.Operation):
		return s.prepare(ctx, a, fresh)
	case a.IntentID == "":
		return nil, action{review: "the payment has no intent"}, nil
	case fresh && !makesIntent(a.Operation): // the intent is as the settled charge has left it
		return &stripe.Intent{ID: a.IntentID, Status: stripe.RequiresCapture}, action{}, nil
	}
	return nil, action{}, nil
}

// prepare makes the intent. The processor knows the key of an earlier call and returns that
// intent, even if a restored backup has lost its id. An attempt may be older than the
// processor's memory: then its intent is looked for first, because it may be paid.
func (s *Service) prepare(
	ctx context.Context, a *Attempt, fresh bool,
) (*stripe.Intent, action, error) {
	if !fresh && a.age(s.leaseTime) > s.resendWindow {
		next, err := s.findIntent(ctx, a, a.CreatedAt.Add(-clockSkew))
		if err != nil || next != (action{}) || a.IntentID != "" {
			return nil, next, err
		}
	}
	if err := s.renew(ctx, a); err != nil {
		return nil, action{}, err
	}
	intent, err := s.processor.CreateIntent(ctx, s.key(a, stepPrepare), stripe.NewIntent{
		Owner: s.owner(a), Amount: a.Amount, PaymentMethod: a.PaymentMethod,
		Manual: a.Operation == operationAuthorize,
	})
	failed, _ := errors.AsType[*stripe.Error](err)
	switch {
	case err == nil:
		a.IntentID = intent.ID
		if err := s.commit(ctx, a); err != nil {
			return nil, action{}, err
		}
		if !fresh {
			return nil, action{}, nil // the answer may be an old one, stored under the key
		}
		return &intent, action{}, nil
	case stripe.OutcomeOf(err) == stripe.NotDone:
		// If an earlier call created an intent, nobody knows its id, so it is never
		// confirmed.
		return nil, action{settle: payments.StatusDeclined, decline: codeOf(failed)}, nil
	case replayedFault(failed):
		a.Generation++ // an unconfirmed intent moves no money: a second one is harmless
		if err := s.commit(ctx, a); err != nil {
			return nil, action{}, err
		}
		return nil, action{wait: err.Error()}, nil
	}
	return nil, waitOrReview(err), nil
}

// findIntent looks for an intent of the attempt in the processor's list, and commits its
// id. One that was confirmed comes before one that a lost answer has left.
func (s *Service) findIntent(
	ctx context.Context, a *Attempt, since time.Time,
) (action, error) {
	var found string
	for intent, err := range s.processor.Intents(ctx, since, time.Now().Add(clockSkew)) {
		if err != nil {
			return waitOrReview(err), nil
		}
		if err := s.renew(ctx, a); err != nil {
			return action{}, err
		}
		if intent.Owner != s.owner(a) {
			continue
		}
		found = intent.ID
		if intent.Status != stripe.RequiresConfirmation && intent.Status != stripe.Canceled {
			break
		}
	}
	if found == "" {
		return action{}, nil
	}
	a.IntentID = found
	return action{}, s.commit(ctx, a)
}

func (s *Service) retrieve(ctx context.Context, a *Attempt) (*stripe.Intent, action, error) {
	if err := s.renew(ctx, a); err != nil {
		return nil, action{}, err
	}
	intent, err := s.processor.Retrieve(ctx, a.IntentID)
	switch {
	case err == nil:
		return &intent, action{}, nil
	case stripe.OutcomeOf(err) == stripe.NotDone:
		return nil, action{review: "the processor does not know the intent: " + err.Error()}, nil
	}
	return nil, waitOrReview(err), nil
}

// doStep makes the call of a planned step.
func (s *Service) doStep(
	ctx context.Context, a *Attempt, planned action,
) (*stripe.Intent, action, error) {
	if planned.step == stepCancel && planned.decline != a.DeclineCode {
		a.DeclineCode = planned.decline // the canceled intent may not show it
		if err := s.commit(ctx, a); err != nil {
			return nil, action{}, err
		}
	}
	if err := s.renew(ctx, a); err != nil {
		return nil, action{}, err
	}
	intent, err := s.call(ctx, a, planned.step)
	failed, _ := errors.AsType[*stripe.Error](err)
	switch {
	case err == nil && planned.step == stepCancel:
		return nil, action{}, nil // a decline needs an intent that is retrieved as canceled
	case err == nil:
		return &intent, action{}, nil
	case stripe.OutcomeOf(err) == stripe.NotDone:
		return s.refused(ctx, a, planned.step, failed)
	case replayedFault(failed):
		return s.renewKey(ctx, a, planned)
	}
	return nil, waitOrReview(err), nil
}

func (s *Service) call(ctx context.Context, a *Attempt, step string) (stripe.Intent, error) {
	key := s.key(a, step)
	switch step {
	case stepConfirm:
		return s.processor.Confirm(ctx, key, a.IntentID)
	case stepCapture:
		return s.processor.Capture(ctx, key, a.IntentID, a.Amount)
	default:
		return s.processor.Cancel(ctx, key, a.IntentID)
	}
}

// refused handles a step that the processor has refused. The intent shows the reason:
// another instance was faster, or the card was declined.
func (s *Service) refused(
	ctx context.Context, a *Attempt, step string, failed *stripe.Error,
) (*stripe.Intent, action, error) {
	intent, next, err := s.retrieve(ctx, a)
	if intent == nil {
		return nil, next, err
	}
	again := plan(a, intent)
	if again.step != step {
		return intent, action{}, nil
	}
	if step != stepConfirm {
		return nil, action{review: "the processor refuses to " + step + ": " + failed.Error()}, nil
	}
	a.DeclineCode = codeOf(failed) // so the intent is canceled next
	return intent, action{}, s.commit(ctx, a)
}

// renewKey raises the generation after a stored 5xx was replayed, so that the next call
// of the step has another key. It retrieves the intent first: behind the 5xx, the step
// may have succeeded.
func (s *Service) renewKey(
	ctx context.Context, a *Attempt, planned action,
) (*stripe.Intent, action, error) {
	intent, next, err := s.retrieve(ctx, a)
	if intent == nil || plan(a, intent).step != planned.step {
		return intent, next, err
	}
	a.Generation++
	if err := s.commit(ctx, a); err != nil {
		return nil, action{}, err
	}
	return nil, action{wait: "the processor repeats a stored fault"}, nil
}
