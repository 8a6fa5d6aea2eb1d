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
