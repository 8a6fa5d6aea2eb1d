package cards

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

const (
	retryDelayFirst = 250 * time.Millisecond
	retryDelayMax   = 10 * time.Second
	// stepsMax is far above what an attempt needs: a charge that is declined has five.
	stepsMax = 20
)

// work asks the processor until the attempt is settled, or has to wait. The attempt is
// leased. fresh: it was begun a moment ago, and the processor has never been asked.
func (s *Service) work(ctx context.Context, a *Attempt, fresh bool) {
	var next action
	settled, err := s.applyEarlyTo(ctx, a)
	switch {
	case settled:
		return
	case err != nil:
	case a.Operation == operationRefund:
		next, err = s.workRefund(ctx, a)
	default:
		next, err = s.workIntent(ctx, a, fresh)
	}
	if err == nil {
		err = s.end(ctx, a, next)
	}
	switch {
	case err == nil:
	case errors.Is(err, payments.ErrFenced), errors.Is(err, payments.ErrSettled):
		s.logger.InfoContext(ctx, "attempt left to another instance",
			a.attributes("error", err)...)
	default:
		s.later(ctx, a, err.Error())
	}
}

// end is what follows once the processor need not be asked any more. A shutdown does not
// stop it.
func (s *Service) end(ctx context.Context, a *Attempt, next action) error {
	switch {
	case next.settle != "":
		err := s.settle(context.WithoutCancel(ctx), a, next)
		if errors.Is(err, payments.ErrNotSettled) {
			return s.toReview(ctx, a, err.Error())
		}
		return err
	case next.review != "":
		return s.toReview(ctx, a, next.review)
	default:
		s.later(ctx, a, next.wait)
		return nil
	}
}

func (s *Service) settle(ctx context.Context, a *Attempt, next action) error {
	err := s.payments.Settle(ctx, payments.Settlement{
		MerchantID: a.MerchantID, AttemptID: a.ID, PaymentID: a.PaymentID, Token: a.Token,
		Status: next.settle, DeclineCode: next.decline,
	})
	if err == nil {
		s.logger.InfoContext(ctx, "attempt settled",
			a.attributes("status", string(next.settle), "decline_code", next.decline)...)
		s.waits.ended(a.ref())
	}
	return err
}

func (s *Service) toReview(ctx context.Context, a *Attempt, reason string) error {
	err := s.review(context.WithoutCancel(ctx), a, reason)
	if err == nil {
		s.logger.ErrorContext(ctx, "attempt needs a person: see paymentsvc attempts",
			a.attributes("reason", reason)...)
	}
	return err
}

// later ends the lease, so that any instance asks again after a while. At a shutdown that
// is at once.
func (s *Service) later(ctx context.Context, a *Attempt, problem string) {
	delay := min(retryDelayFirst<<min(a.Tries, 10), retryDelayMax)
	delay = delay/2 + rand.N(delay/2+1) //nolint:gosec // no secret
	if ctx.Err() != nil {
		delay = 0
	}
	s.logger.WarnContext(ctx, "attempt waits", a.attributes("problem", problem, "delay", delay)...)
	err := s.retry(context.WithoutCancel(ctx), a, delay, problem)
	if err != nil && !errors.Is(err, payments.ErrFenced) {
		s.logger.WarnContext(ctx, "attempt stays leased", a.attributes("error", err)...)
	}
}

// workIntent handles all operations but refunds. It returns what follows for our books.
func (s *Service) workIntent(ctx context.Context, a *Attempt, fresh bool) (action, error) {
	intent, next, err := s.begin(ctx, a, fresh)
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
		intent, next, err = s.take(ctx, a, planned)
	}
	return action{review: "the processor's answers lead nowhere"}, nil
}

// begin makes the intent, if it is not known yet. The intent that it returns is nil if it
// has to be retrieved: after an interruption nothing is assumed.
func (s *Service) begin(
	ctx context.Context, a *Attempt, fresh bool,
) (*stripe.Intent, action, error) {
	if a.IntentID != "" {
		if fresh && a.Operation != operationCharge && a.Operation != operationAuthorize {
			return &stripe.Intent{ID: a.IntentID, Status: stripe.RequiresCapture}, action{}, nil
		}
		return nil, action{}, nil
	}
	if a.Operation != operationCharge && a.Operation != operationAuthorize {
		return nil, action{review: "the payment has no intent"}, nil
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
		if err := s.keep(ctx, a); err != nil {
			return nil, action{}, err
		}
		if !fresh {
			return nil, action{}, nil // it may be the stored answer of an earlier call
		}
		return &intent, action{}, nil
	case stripe.OutcomeOf(err) == stripe.NotDone:
		// There is no intent, and this attempt never confirms an intent that it does not know.
		return nil, action{settle: payments.StatusDeclined, decline: codeOf(failed)}, nil
	case replayedFault(failed):
		// an intent that is not confirmed moves no money, so a second one is harmless
		a.Generation++
		if err := s.keep(ctx, a); err != nil {
			return nil, action{}, err
		}
		return nil, action{wait: err.Error()}, nil
	}
	return nil, waitOrReview(err), nil
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

// take takes one step. The intent that it returns is nil if it has to be retrieved.
func (s *Service) take(
	ctx context.Context, a *Attempt, planned action,
) (*stripe.Intent, action, error) {
	if planned.step == stepCancel && planned.decline != a.DeclineCode {
		a.DeclineCode = planned.decline // committed, because the next instance cannot see it
		if err := s.keep(ctx, a); err != nil {
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
		return nil, action{}, nil // only what is read back as canceled is declined
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

// refused is what follows when the processor has refused a step. The intent tells: another
// instance may have been first, or the card was declined.
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
	return intent, action{}, s.keep(ctx, a)
}

// renewKey raises the generation after a stored 5xx was replayed, so that the step can be
// taken again. The intent is retrieved first: it may have been the step that the 5xx hid.
func (s *Service) renewKey(
	ctx context.Context, a *Attempt, planned action,
) (*stripe.Intent, action, error) {
	intent, next, err := s.retrieve(ctx, a)
	if intent == nil || plan(a, intent).step != planned.step {
		return intent, next, err
	}
	a.Generation++
	if err := s.keep(ctx, a); err != nil {
		return nil, action{}, err
	}
	return nil, action{wait: "the processor repeats a stored fault"}, nil
}

// renew makes sure that the lease outlasts the next call.
func (s *Service) renew(ctx context.Context, a *Attempt) error {
	if time.Until(a.leaseEnd) >= s.timeout+writeTimeout {
		return nil
	}
	return s.keep(ctx, a)
}

func (s *Service) owner(a *Attempt) stripe.Owner {
	return stripe.Owner{Installation: s.installation, MerchantID: a.MerchantID, AttemptID: a.ID}
}

func (s *Service) key(a *Attempt, step string) string {
	return stripe.ProcessorKey(s.owner(a), step, a.Generation)
}

// replayedFault tells whether the processor has repeated a fault that it had stored under
// the key. It will do so for as long as it knows the key.
func replayedFault(failed *stripe.Error) bool {
	return failed != nil && failed.Replayed && failed.StatusCode >= http.StatusInternalServerError
}

// waitOrReview is for a call whose outcome is unknown.
func waitOrReview(err error) action {
	if failed, ok := errors.AsType[*stripe.Error](err); ok {
		switch failed.Code {
		case stripe.CodeIdempotency, stripe.CodeContradiction:
			return action{review: err.Error()} // no retry can succeed
		}
	}
	return action{wait: err.Error()}
}

// codeOf is the decline code of a call that the processor has refused.
func codeOf(failed *stripe.Error) string {
	if failed.DeclineCode != "" {
		return failed.DeclineCode
	}
	return payments.DeclineProcessingError
}
