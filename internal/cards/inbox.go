package cards

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

// Reasons for which an event is refused.
var (
	ErrSignature = stripe.ErrSignature
	ErrNoEvent   = errors.New("the body is not an event of the processor")
)

// eventIDForm is the form of an id that can be a key.
var eventIDForm = regexp.MustCompile(`^[!-~]{1,255}$`)

// reception is what became of an event, for the log.
type reception string

const (
	applied  reception = "applied" // it settled its attempt
	late     reception = "late"    // the attempt was settled before
	nudged   reception = "nudged"  // the processor is asked again at once
	kept     reception = "kept"    // there is no attempt yet
	reported reception = "reported"
	ignored  reception = "ignored"
)

// Receive takes an event of the processor, which may come twice, late, early and out of
// order. nil means that its effect is committed, or that it is kept for later, or that it
// needs no effect. After any other error than the two above, the processor sends it again.
//
// An event has an effect only if its object is in a final state, for which the order of
// events does not matter. Its id is claimed in the transaction of the effect. Any other
// event is a hint to ask the processor, which knows the object's present state.
func (s *Service) Receive(
	ctx context.Context, body []byte, signature string, now time.Time,
) error {
	event, err := s.processor.ReadEvent(body, signature, now)
	switch {
	case errors.Is(err, ErrSignature):
		return ErrSignature
	case err != nil:
		return fmt.Errorf("%w: %w", ErrNoEvent, err)
	case !eventIDForm.MatchString(event.ID):
		return ErrNoEvent
	}
	result, a, err := s.receive(ctx, &event, body)
	s.logEvent(ctx, &event, result, a, err)
	return err
}

func (s *Service) receive(
	ctx context.Context, event *stripe.Event, body []byte,
) (reception, *Attempt, error) {
	word := wordOf(event)
	if word.Installation != s.installation {
		return s.report(ctx, event)
	}
	a, err := s.addressee(ctx, word)
	switch {
	case errors.Is(err, ErrNoAttempt) && word.final:
		return kept, nil, s.keepEvent(ctx, event.ID, word, body)
	case errors.Is(err, ErrNoAttempt):
		return ignored, nil, nil
	case err != nil:
		return "", nil, err
	}
	result, err := s.apply(ctx, event.ID, word, a)
	return result, a, err
}

// word is what an event says about an attempt.
type word struct {
	stripe.Owner                // of another installation, or zero: it is about nothing of ours
	intent       *stripe.Intent // one of these
	refund       *stripe.Refund
	final        bool // the object can change no more, but for a refund that fails after all
}

func wordOf(event *stripe.Event) word {
	switch {
	case event.Intent != nil:
		status := event.Intent.Status
		return word{
			Owner: event.Intent.Owner, intent: event.Intent,
			final: status == stripe.Succeeded || status == stripe.Canceled,
		}
	case event.Refund != nil:
		status := event.Refund.Status
		return word{
			Owner: event.Refund.Owner, refund: event.Refund,
			final: status == stripe.RefundSucceeded || status == stripe.RefundFailed ||
				status == stripe.RefundCanceled,
		}
	}
	return word{}
}

// addressee finds the attempt that an event is about. An intent has the metadata of the
// attempt that made it. If that is settled, the event is about the attempt that is open on
// the same payment: a capture or a cancellation. There is at most one.
//
// The settled attempt that makes an event late is as safe as an answer: the processor does
// not send the event again after a failover.
func (s *Service) addressee(ctx context.Context, w word) (*Attempt, error) {
	var found []*Attempt
	err := postgres.Confirm(ctx, s.pool, func(conn *pgx.Conn) (err error) {
		found, err = collectAttempts(ctx, conn, `
			SELECT `+attemptColumns+`
			FROM processor_attempts named
			JOIN processor_attempts a
				ON a.merchant_id = named.merchant_id AND a.payment_id = named.payment_id
			JOIN payments p ON p.merchant_id = a.merchant_id AND p.id = a.payment_id
			WHERE named.merchant_id = $1 AND named.id = $2
				AND CASE WHEN $3 THEN a.id = named.id AND a.operation = 'refund'
					ELSE a.operation <> 'refund' END
			ORDER BY a.state = 'settled', a.created_at
			LIMIT 1`, w.MerchantID, w.AttemptID, w.refund != nil)
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("looking for the attempt of an event: %w", err)
	case len(found) == 0:
		return nil, ErrNoAttempt
	}
	return found[0], nil
}

// apply settles the attempt, if the event has the processor's last word about it.
func (s *Service) apply(
	ctx context.Context, eventID string, w word, a *Attempt,
) (reception, error) {
	if a.State == StateSettled {
		return late, nil
	}
	if !w.final {
		return nudged, s.nudge(ctx, a)
	}
	var next action
	if w.refund != nil {
		next = planRefund(a, w.refund)
	} else {
		ours, err := s.adopt(ctx, a, w.intent.ID)
		if err != nil || !ours {
			return ignored, err
		}
		next = plan(a, w.intent)
	}
	if next.settle == "" {
		return nudged, s.nudge(ctx, a)
	}
	err := s.payments.Settle(ctx, payments.Settlement{
		MerchantID: a.MerchantID, AttemptID: a.ID, PaymentID: a.PaymentID, EventID: eventID,
		Status: next.settle, DeclineCode: next.decline,
	})
	switch {
	case errors.Is(err, payments.ErrSettled):
		return late, nil
	case errors.Is(err, payments.ErrNotSettled): // the next lease leaves it to a person
		return nudged, s.nudge(ctx, a)
	case err != nil:
		return "", err
	}
	s.waits.ended(a.ref())
	return applied, nil
}

// adopt tells whether the intent is the attempt's. An attempt may have made two intents,
// and confirms only the one that it knows. One that knows none takes this one, because the
// intent can change no more: a backup was restored, or the id was not committed in time.
func (s *Service) adopt(ctx context.Context, a *Attempt, intentID string) (bool, error) {
	if a.IntentID != "" {
		return a.IntentID == intentID, nil
	}
	err := s.pool.QueryRow(ctx, `
		UPDATE processor_attempts
		SET intent_id = coalesce(intent_id, $3)
		WHERE merchant_id = $1 AND id = $2 AND operation IN ('charge', 'authorize')
			AND state <> 'settled'
		RETURNING intent_id`, a.MerchantID, a.ID, intentID).Scan(&a.IntentID)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return false, fmt.Errorf("noting the intent of an attempt: %w", err)
	}
	return a.IntentID == intentID, nil
}

// nudge makes an attempt due, unless it is leased, so that the processor is asked at once.
// Each lease raises the token, and each end of a lease the number of tries.
func (s *Service) nudge(ctx context.Context, a *Attempt) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE processor_attempts
		SET due_at = clock_timestamp()
		WHERE merchant_id = $1 AND id = $2 AND state = 'open' AND tries >= token
			AND due_at > clock_timestamp()`, a.MerchantID, a.ID)
	if err != nil {
		return fmt.Errorf("making an attempt due: %w", err)
	}
	return nil
}

// report logs a dispute of a payment and a refund that the service did not ask for, which
// somebody made at the processor. Reconciliation shows them too. All else is about what
// others do with the same account.
func (s *Service) report(
	ctx context.Context, event *stripe.Event,
) (reception, *Attempt, error) {
	if event.Dispute == nil && (event.Refund == nil || event.Refund.Owner != (stripe.Owner{})) {
		return ignored, nil, nil
	}
	intent, err := s.processor.Retrieve(ctx, event.IntentID)
	switch {
	case err != nil: // its id must do
		return reported, nil, nil //nolint:nilerr // the client has logged it
	case intent.Installation != s.installation:
		return ignored, nil, nil
	}
	a, err := s.find(ctx, attemptRef{intent.MerchantID, intent.AttemptID})
	if errors.Is(err, ErrNoAttempt) {
		return reported, nil, nil
	}
	return reported, a, err
}

// logEvent writes one line about each event, so that they can be counted.
func (s *Service) logEvent(
	ctx context.Context, event *stripe.Event, result reception, a *Attempt, err error,
) {
	attributes := []any{
		"event_id", event.ID, "type", event.Type, "result", string(result),
		"intent_id", event.IntentID,
	}
	if a != nil {
		attributes = append(attributes, "merchant_id", a.MerchantID, "attempt_id", a.ID,
			"operation", a.Operation, "payment_id", payments.FormatID(a.PaymentID))
	}
	switch {
	case err != nil:
		s.logger.WarnContext(ctx, "processor event not taken; it will be sent again",
			append(attributes, "error", err)...)
	case result == reported && event.Dispute != nil:
		s.logger.WarnContext(ctx, "a payment is disputed: see paymentsvc reconcile",
			append(attributes, "dispute_id", event.Dispute.ID, "status", event.Dispute.Status,
				"reason", event.Dispute.Reason)...)
	case result == reported:
		s.logger.WarnContext(ctx, "a refund was made at the processor: see paymentsvc reconcile",
			append(attributes, "refund_id", event.Refund.ID)...)
	case result == late && failedRefund(event):
		s.logger.WarnContext(ctx, "a refund failed: see paymentsvc reconcile",
			append(attributes, "refund_id", event.Refund.ID)...)
	default:
		s.logger.InfoContext(ctx, "processor event", attributes...)
	}
}

// failedRefund tells whether the event is about a refund that failed, perhaps after it had
// succeeded. Then the money is back at the processor.
func failedRefund(event *stripe.Event) bool {
	return event.Refund != nil && (event.Refund.Status == stripe.RefundFailed ||
		event.Refund.Status == stripe.RefundCanceled)
}
