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
	applied  reception = "applied"  // it settled its attempt
	late     reception = "late"     // the attempt was settled before
	nudged   reception = "nudged"   // it made its attempt due
	kept     reception = "kept"     // it came too early (early.go)
	reported reception = "reported" // a person has to know of it
	ignored  reception = "ignored"  // it concerns nothing of ours
)

// Receive handles an event of the processor, which may come twice, late, early and out
// of order. nil means that its effect is committed, that it is kept for later, or that
// it needs no effect. After any other error than the two above, the processor sends it
// again.
//
// An event settles its attempt only if its object is in a final state. Then the order of
// events does not matter. The event's id is claimed in the transaction of the
// settlement. Any other event is a hint to ask the processor for the object's present
// state.
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
	n := noticeOf(event)
	if n.Installation != s.installation {
		return s.receiveForeign(ctx, event)
	}
	a, err := s.attemptOf(ctx, n)
	switch {
	case errors.Is(err, ErrNoAttempt) && n.final:
		return kept, nil, s.keepEvent(ctx, event.ID, n, body)
	case errors.Is(err, ErrNoAttempt):
		return ignored, nil, nil
	case err != nil:
		return "", nil, err
	}
	result, err := s.apply(ctx, event.ID, n, a)
	return result, a, err
}

// notice is what an event says about an attempt: the state of its intent or of its
// refund.
type notice struct {
	stripe.Owner // zero if the object has no metadata of ours
	intent       *stripe.Intent
	refund       *stripe.Refund
	final        bool // the object changes no more (but a succeeded refund can still fail)
}

func noticeOf(event *stripe.Event) notice {
	switch {
	case event.Intent != nil:
		return notice{
			Owner: event.Intent.Owner, intent: event.Intent, final: event.Intent.Status.Final(),
		}
	case event.Refund != nil:
		status := event.Refund.Status
		return notice{
			Owner: event.Refund.Owner, refund: event.Refund,
			final: status == stripe.RefundSucceeded || status.Failed(),
		}
	}
	return notice{}
}

// attemptOf finds the attempt that an event is about. An intent has the metadata of the
// attempt that created it. If that attempt is settled, the event is about the attempt
// that is open on the same payment: a capture or a cancellation. There is at most one.
//
// A late event is acknowledged because its attempt reads as settled. So this read is
// confirmed like an answer: a failover must not lose the settlement afterwards, because
// the processor does not send the event again.
func (s *Service) attemptOf(ctx context.Context, n notice) (*Attempt, error) {
	var found []*Attempt
	err := postgres.Confirm(ctx, s.pool, func(conn *pgx.Conn) (err error) {
		found, err = collectAttempts(ctx, conn, `
			SELECT `+attemptColumns+`
			FROM processor_attempts named
			JOIN processor_attempts a
				ON a.merchant_id = $1 AND a.payment_id = named.payment_id`+paymentOfAttempt+`
			WHERE named.merchant_id = $1 AND named.id = $2
				AND CASE WHEN $3 THEN a.id = named.id AND a.operation = 'refund'
					ELSE a.operation <> 'refund' END
			ORDER BY a.state = 'settled', a.created_at
			LIMIT 1`, n.MerchantID, n.AttemptID, n.refund != nil)
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

// apply settles the attempt if the event's object is in a final state. Else it makes the
// attempt due.
func (s *Service) apply(
	ctx context.Context, eventID string, n notice, a *Attempt,
) (reception, error) {
	if a.State == StateSettled {
		return late, nil
	}
	if !n.final {
		return nudged, s.nudge(ctx, a)
	}
	var next action
	if n.refund != nil {
		next = planRefund(a, n.refund)
	} else {
		ours, err := s.adopt(ctx, a, n.intent.ID)
		if err != nil || !ours {
			return ignored, err
		}
		next = plan(a, n.intent)
	}
	if next.settle == "" {
		return nudged, s.nudge(ctx, a)
	}
	settlement := a.settlement(next)
	settlement.Token, settlement.EventID = 0, eventID // an event needs no lease
	err := s.payments.Settle(ctx, settlement)
	switch {
	case errors.Is(err, payments.ErrSettled):
		return late, nil
	case errors.Is(err, payments.ErrNotSettled): // the next lease leaves it to a person
		return nudged, s.nudge(ctx, a)
	case err != nil:
		return "", err
	}
	s.waits.wake(a.ref())
	return applied, nil
}

// adopt tells whether an intent in a final state is the attempt's. An attempt may have
// created two intents, and confirms only the one whose id it has committed. An attempt
// without an id gets the id of this one: a backup was restored, or the id was not
// committed in time. It needs no lease, because an id is written only once.
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

// nudge makes an attempt due, unless it is leased, so that an instance asks the
// processor at once. Each lease raises the token, and each release of a lease the number
// of tries. So they are equal while no instance has a lease. After a lease that was not
// released, tries stays below, and the attempt keeps its due time.
func (s *Service) nudge(ctx context.Context, a *Attempt) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE processor_attempts
		SET due_at = statement_timestamp()
		WHERE merchant_id = $1 AND id = $2 AND state = 'open' AND tries >= token
			AND due_at > statement_timestamp()`, a.MerchantID, a.ID)
	if err != nil {
		return fmt.Errorf("making an attempt due: %w", err)
	}
	return nil
}

// receiveForeign finds the attempt of an object without our metadata: a dispute of one
// of our payments, or a refund that a person has made at the processor. Such an event
// has no effect but a line in the log, and reconciliation shows the object too. Events
// about other objects are ignored: the account may have other users.
func (s *Service) receiveForeign(
	ctx context.Context, event *stripe.Event,
) (reception, *Attempt, error) {
	if event.Dispute == nil && (event.Refund == nil || event.Refund.Owner != (stripe.Owner{})) {
		return ignored, nil, nil
	}
	intent, err := s.processor.Retrieve(ctx, event.IntentID)
	switch {
	case err != nil: // the line has the intent's id only
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
	return event.Refund != nil && event.Refund.Status.Failed()
}
