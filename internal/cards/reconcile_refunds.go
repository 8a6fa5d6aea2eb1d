package cards

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

func (r *reconciliation) refunds(ctx context.Context) error {
	return merge(ctx, r, r.processor.AllRefunds(ctx, r.Since, r.Until), theirs[stripe.Refund]{
		created: func(f *stripe.Refund) time.Time { return f.CreatedAt },
		id:      func(f *stripe.Refund) string { return f.AttemptID.String() },
		owner:   func(f *stripe.Refund) stripe.Owner { return f.Owner },
		compare: func(f *stripe.Refund, b *booked) error {
			// A second refund of one attempt looks like the first. It comes soon after the first,
			// or long after the attempt, when the processor has forgotten the key.
			late := b != nil && f.CreatedAt.Sub(b.createdAt) > clockSkew
			if compareRefund(f, b, r.now) == nil && !late && !r.twice[f.AttemptID.String()] {
				return nil
			}
			return r.compareRefunds(ctx, f.IntentID, f.AttemptID, b)
		},
		foreign: func(f *stripe.Refund) error { return r.foreignRefund(ctx, f) },
	}, ours{
		refunds: true,
		id:      func(b *booked) string { return b.ref.id.String() },
		unlisted: func(b *booked) error {
			if b.intentID == "" {
				return nil
			}
			return r.compareRefunds(ctx, b.intentID, b.ref.id, b)
		},
	})
}

// compareRefunds looks for an attempt's refund among the refunds of its intent, and
// compares it with b, which was read before. So a refund that ends meanwhile is no
// difference.
func (r *reconciliation) compareRefunds(
	ctx context.Context, intentID string, attemptID uuid.UUID, b *booked,
) error {
	refunds, err := r.processor.Refunds(ctx, intentID)
	if err != nil {
		return err
	}
	r.refundedTwice(refunds, intentID, attemptID, b)
	for i := range refunds {
		if refunds[i].Installation == r.installation && refunds[i].AttemptID == attemptID {
			if d := compareRefund(&refunds[i], b, r.now); d != nil {
				if d.Kind == KindRefundNotHere {
					d.Remedy = restored + r.remedyRefund(&refunds[i])
				}
				r.report(d)
			}
			return nil
		}
	}
	switch {
	case b == nil:
		return nil
	case b.refund == payments.RefundProcessing:
		r.unfinished(b, b.createdAt, "the processor has no such refund")
		return nil
	case b.refund != payments.RefundSucceeded:
		return nil
	}
	intent, err := r.processor.Retrieve(ctx, intentID)
	if err != nil && stripe.OutcomeOf(err) != stripe.NotDone { // else it has no such intent
		return err
	}
	if refundedElsewhere(&intent, refunds, b.refunded) < 0 {
		r.report(b.difference(KindRefundNotThere, intentID, fmt.Sprintf(
			"a refund of %d is succeeded here; the processor has none", b.minor)))
	}
	return nil
}

// refundedTwice reports an attempt with more than one refund.
func (r *reconciliation) refundedTwice(
	refunds []stripe.Refund, intentID string, attemptID uuid.UUID, b *booked,
) {
	var made []string
	for i := range refunds {
		if !refunds[i].Status.Failed() && refunds[i].Installation == r.installation &&
			refunds[i].AttemptID == attemptID {
			made = append(made, refunds[i].ID)
		}
	}
	if b == nil || len(made) < 2 || r.doubled[attemptID] {
		return
	}
	r.doubled[attemptID] = true
	d := b.difference(KindRefundedTwice, intentID,
		"the processor has more than one refund of it: "+strings.Join(made, ", "))
	d.OtherID = made[0]
	r.report(d)
}

func (r *reconciliation) remedyRefund(refund *stripe.Refund) string {
	if until := refund.CreatedAt.Add(r.resendWindow); r.now.Before(until) {
		return "The merchant sends the refund again with its key before " +
			until.Format(time.RFC3339) + ": it finds this one."
	}
	return "Book it by hand. Do not send its key again: the processor may have forgotten it, " +
		"and would refund a second time."
}

// foreignRefund is for a refund without our metadata. It is reported if its intent is ours.
func (r *reconciliation) foreignRefund(ctx context.Context, refund *stripe.Refund) error {
	intent, b, err := r.ofIntent(ctx, refund.IntentID)
	if err != nil || b == nil {
		return err
	}
	refunds, err := r.processor.Refunds(ctx, refund.IntentID)
	if err != nil {
		return err
	}
	minor := refundedElsewhere(&intent, refunds, b.refunded)
	if minor > 0 && !r.elsewhere[refund.IntentID] { // once for an intent
		r.elsewhere[refund.IntentID] = true
		d := b.difference(KindRefundedThere, refund.IntentID, fmt.Sprintf(
			"the processor has refunded %d %s without us", minor, refund.Amount.Currency))
		d.OtherID = refund.ID
		r.report(d)
	}
	return nil
}
