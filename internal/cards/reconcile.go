package cards

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

// Comparison is what one run of a reconciliation compares: everything that was created
// in [Since, Until).
type Comparison struct {
	Since, Until time.Time
	Report       func(Difference)   // called for each row
	Progress     func(compared int) // nil, or called after each page
}

const (
	// comparePageSize is how many objects are compared with our books in one statement.
	comparePageSize = 100
	// clockSkew is how far the processor's clock may be from ours. An intent is made after its
	// attempt, and seconds later in most cases.
	clockSkew = 5 * time.Minute
)

// reconciliation is a Comparison that runs.
//
// It reads the processor's list and our attempts page by page, both from the newest to
// the oldest (merge.go). Each listed object is compared with the attempt that its
// metadata name. Each attempt whose object was not listed is looked up at the processor
// by id.
//
// An intent is created after its attempt, and there is no bound for the time between. So
// our attempts are read clockSkew behind the processor's list, whose ids are remembered
// for a while. If the two times are further apart, the lookup by id finds the object. So
// the memory is bounded, and the result does not depend on clocks.
type reconciliation struct {
	*Service
	Comparison
	now       time.Time            // of the database
	listed    map[string]time.Time // ids that the processor has listed, with their times
	twice     map[string]bool      // ids that it has listed more than once
	elsewhere map[string]bool      // intents whose refund elsewhere is reported
	doubled   map[uuid.UUID]bool   // attempts whose second refund is reported
	found     int
	compared  int
}

// Reconcile compares the processor's lists with our books, both ways. It only reads.
// Other users may share the account, so it compares only objects of this installation.
// It returns the number of differences. Notes do not count.
func (s *Service) Reconcile(ctx context.Context, c Comparison) (int, error) {
	r := &reconciliation{
		Service: s, Comparison: c,
		listed: map[string]time.Time{}, twice: map[string]bool{}, elsewhere: map[string]bool{},
		doubled: map[uuid.UUID]bool{},
	}
	if err := s.pool.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&r.now); err != nil {
		return 0, fmt.Errorf("reading the database's clock: %w", err)
	}
	for _, compare := range []func(context.Context) error{r.intents, r.refunds, r.disputes} {
		if err := compare(ctx); err != nil {
			return r.found, err
		}
		clear(r.listed)
	}
	return r.found, nil
}

func (r *reconciliation) report(d *Difference) {
	if !d.Note {
		r.found++
	}
	r.Report(*d)
}

func (r *reconciliation) intents(ctx context.Context) error {
	return merge(ctx, r, r.processor.Intents(ctx, r.Since, r.Until), theirs[stripe.Intent]{
		created: func(i *stripe.Intent) time.Time { return i.CreatedAt },
		id:      func(i *stripe.Intent) string { return i.ID },
		owner:   func(i *stripe.Intent) stripe.Owner { return i.Owner },
		compare: func(i *stripe.Intent, b *booked) error {
			if compareIntent(i, b, r.now) == nil {
				return nil
			}
			return r.examine(ctx, *i)
		},
	}, ours{
		id: func(b *booked) string { return b.intentID },
		unlisted: func(b *booked) error {
			switch {
			case !b.charges() && !b.chargedAt.Before(r.Since):
				return nil // the intent is compared as that of the payment's charge
			case b.intentID != "":
				return r.retrieveAndCompare(ctx, b)
			case b.waitsSince.IsZero() && b.status != payments.StatusDeclined:
				r.report(b.difference(KindNotThere, "", fmt.Sprintf(
					"it is %s here, and has no intent", b.status)))
			case !b.waitsSince.IsZero():
				r.unfinished(b, b.waitsSince, "it has no intent yet")
			}
			return nil // without an intent no money moves
		},
	})
}

// unfinished reports an attempt that has not been settled for long, as a note.
func (r *reconciliation) unfinished(b *booked, since time.Time, detail string) {
	if r.now.Sub(since) < grace {
		return
	}
	d := b.difference(KindUnfinished, b.intentID, fmt.Sprintf("%s; its attempt is %s since %s",
		detail, b.state, since.UTC().Format(time.RFC3339)))
	d.Note = true
	r.report(d)
}

// examine compares an intent that seems to differ once more. It reads our books, and
// then retrieves the intent. If the intent is still the same, the two sides really
// differ.
func (r *reconciliation) examine(ctx context.Context, intent stripe.Intent) error {
	ref := attemptRef{intent.MerchantID, intent.AttemptID}
	for range 3 {
		books, err := r.readBooked(ctx, ref)
		if err != nil {
			return err
		}
		d := compareIntent(&intent, books[ref], r.now)
		if d == nil {
			return nil
		}
		again, err := r.processor.Retrieve(ctx, intent.ID)
		switch {
		case err != nil:
			return err
		case again.Status == intent.Status && again.AmountReceived == intent.AmountReceived:
			if d.Kind == KindNotHere {
				d.Remedy = restored + r.remedyNotHere(&intent)
			}
			r.report(d)
			return nil
		}
		intent = again
	}
	return nil // it changes at this moment: a later run compares it
}

// remedyNotHere depends on whether the processor certainly still knows the key.
func (r *reconciliation) remedyNotHere(intent *stripe.Intent) string {
	until := intent.CreatedAt.Add(r.resendWindow)
	if r.now.Before(until) && intent.Status == stripe.Succeeded {
		return "The merchant sends the request again with its key before " +
			until.Format(time.RFC3339) + ": it finds this charge. Or refund it at the processor."
	}
	if intent.Status == stripe.RequiresCapture {
		return "Cancel it at the processor."
	}
	return "Refund it at the processor, or book it by hand. Do not send its key again: the " +
		"processor may have forgotten it, and would charge a second time."
}

func (r *reconciliation) retrieveAndCompare(ctx context.Context, b *booked) error {
	intent, err := r.processor.Retrieve(ctx, b.intentID)
	switch {
	case stripe.OutcomeOf(err) == stripe.NotDone:
		r.report(b.difference(KindNotThere, b.intentID, fmt.Sprintf(
			"it is %s here, and the processor has no such intent", b.status)))
		return nil
	case err != nil:
		return err
	}
	return r.examine(ctx, intent)
}

func (r *reconciliation) disputes(ctx context.Context) error {
	for dispute, err := range r.processor.Disputes(ctx, r.Since, r.Until) {
		if err != nil {
			return err
		}
		_, b, err := r.ofIntent(ctx, dispute.IntentID)
		if err != nil {
			return err
		}
		if b == nil {
			continue
		}
		d := b.difference(KindDisputed, dispute.IntentID, fmt.Sprintf(
			"a dispute of %s is %s, for %s", dispute.Amount, dispute.Status, dispute.Reason))
		d.OtherID = dispute.ID
		d.Note = dispute.Status == "won" || dispute.Status == "warning_closed"
		r.report(d)
	}
	return nil
}

// ofIntent retrieves an intent, and reads what our books have on it: nil if it is not
// ours.
func (r *reconciliation) ofIntent(
	ctx context.Context, intentID string,
) (stripe.Intent, *booked, error) {
	if intentID == "" {
		return stripe.Intent{}, nil, nil
	}
	intent, err := r.processor.Retrieve(ctx, intentID)
	if err != nil || intent.Installation != r.installation {
		return intent, nil, err
	}
	ref := attemptRef{intent.MerchantID, intent.AttemptID}
	books, err := r.readBooked(ctx, ref)
	return intent, books[ref], err
}
