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

// work is one try to settle a leased attempt. fresh means that the processor was never
// asked for it: the attempt was begun a moment ago.
func (s *Service) work(ctx context.Context, a *Attempt, fresh bool) {
	var next action
	settled, err := s.applyEarlyTo(ctx, a)
	switch {
	case settled:
		return
	case err != nil:
	case a.Operation == operationRefund:
		next, err = s.workRefund(ctx, a, fresh)
	default:
		next, err = s.workIntent(ctx, a, fresh)
	}
	if err == nil {
		err = s.conclude(ctx, a, next)
	}
	switch {
	case err == nil:
	case errors.Is(err, payments.ErrFenced), errors.Is(err, payments.ErrSettled):
		s.logger.InfoContext(ctx, "attempt left to another instance",
			a.attributes("error", err)...)
	default:
		s.tryLater(ctx, a, err.Error())
	}
}

// conclude ends a try: it settles the attempt, leaves it to a person, or to a later try.
// A shutdown does not stop it.
func (s *Service) conclude(ctx context.Context, a *Attempt, next action) error {
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
		s.tryLater(ctx, a, next.wait)
		return nil
	}
}

func (s *Service) settle(ctx context.Context, a *Attempt, next action) error {
	err := s.payments.Settle(ctx, a.settlement(next))
	if err == nil {
		s.logger.InfoContext(ctx, "attempt settled",
			a.attributes("status", string(next.settle), "decline_code", next.decline)...)
		s.waits.wake(a.ref())
	}
	return err
}

// settlement is the result that the action settles, under the attempt's lease.
func (a *Attempt) settlement(next action) payments.Settlement {
	return payments.Settlement{
		MerchantID: a.MerchantID, AttemptID: a.ID, PaymentID: a.PaymentID, Token: a.Token,
		Status: next.settle, DeclineCode: next.decline, Captured: next.captured,
	}
}

func (s *Service) toReview(ctx context.Context, a *Attempt, reason string) error {
	err := s.review(context.WithoutCancel(ctx), a, reason)
	if err == nil {
		s.logger.ErrorContext(ctx, "attempt needs a person: see paymentsvc attempts",
			a.attributes("reason", reason)...)
	}
	return err
}

// tryLater ends the lease. Any instance tries again after a delay that grows with the
// tries. At a shutdown the delay is zero.
func (s *Service) tryLater(ctx context.Context, a *Attempt, problem string) {
	delay := min(retryDelayFirst<<min(a.Tries, 10), retryDelayMax)
	delay = delay/2 + rand.N(delay/2+1) //nolint:gosec // no secret
	if ctx.Err() != nil {
		delay = 0
	}
	s.logger.WarnContext(ctx, "attempt waits",
		a.attributes("problem", problem, "delay_seconds", delay.Seconds())...)
	err := s.release(context.WithoutCancel(ctx), a, delay, problem)
	if err != nil && !errors.Is(err, payments.ErrFenced) {
		s.logger.WarnContext(ctx, "attempt stays leased", a.attributes("error", err)...)
	}
}

// renew makes sure that the lease outlasts the next call.
func (s *Service) renew(ctx context.Context, a *Attempt) error {
	if time.Until(a.leaseEnd) >= s.timeout+writeTimeout {
		return nil
	}
	return s.commit(ctx, a)
}

func (s *Service) owner(a *Attempt) stripe.Owner {
	return stripe.Owner{Installation: s.installation, MerchantID: a.MerchantID, AttemptID: a.ID}
}

func (s *Service) key(a *Attempt, step string) string {
	return stripe.ProcessorKey(s.owner(a), step, a.Generation)
}

// replayedFault tells whether the processor has replayed a 5xx that it has stored under
// the key. It does so for as long as it knows the key.
func replayedFault(failed *stripe.Error) bool {
	return failed != nil && failed.Replayed && failed.StatusCode >= http.StatusInternalServerError
}

// waitOrReview is what follows from a call whose outcome is unknown.
func waitOrReview(err error) action {
	if failed, ok := errors.AsType[*stripe.Error](err); ok {
		switch failed.Code {
		case stripe.CodeIdempotency, stripe.CodeContradiction:
			return action{review: err.Error()} // no later try can succeed
		}
	}
	return action{wait: err.Error()}
}

// codeOf is the decline code for a call that the processor has refused.
func codeOf(failed *stripe.Error) string {
	if failed.DeclineCode != "" {
		return failed.DeclineCode
	}
	return payments.DeclineProcessingError
}
