package cards

import (
	"context"
	"fmt"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

// Reconcile compares the processor's list with our books, both ways: what was created in
// [since, until). It asks the processor for nothing but lists and single objects. Others
// may share the account: only objects of this installation are compared. It reports each
// row, and returns how many differ. Notes do not count.
func (s *Service) Reconcile(
	ctx context.Context, since, until time.Time, report func(Difference),
) (n int, err error) {
	return s.Compare(ctx, Comparison{Since: since, Until: until, Report: report})
}

// Comparison is one run of a reconciliation.
type Comparison struct {
	Since, Until time.Time
	Report       func(Difference)
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
// Both lists are read by pages, the newest first, as in a merge. But an intent has another
// time than its attempt, and the difference has no bound. So the ids that the processor has
// listed are remembered for clockSkew, and an attempt whose id is not among them is asked
// for by its id. Memory is bounded, and the answer does not depend on clocks.
type reconciliation struct {
	*Service
	Comparison
	now       time.Time            // of the database
	listed    map[string]time.Time // ids that the processor has listed, with their times
	elsewhere map[string]bool      // intents whose refund elsewhere is reported
	found     int
	compared  int
}

// Compare is Reconcile, with progress.
func (s *Service) Compare(ctx context.Context, c Comparison) (int, error) {
	r := &reconciliation{
		Service: s, Comparison: c,
		listed: map[string]time.Time{}, elsewhere: map[string]bool{},
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

// unfinished mentions an attempt that is not settled, if it is old.
func (r *reconciliation) unfinished(b *booked, since time.Time, detail string) {
	if r.now.Sub(since) < grace {
		return
	}
	d := b.difference(KindUnfinished, b.intentID, fmt.Sprintf("%s; its attempt is %s since %s",
		detail, b.state, since.UTC().Format(time.RFC3339)))
	d.Note = true
	r.report(d)
}

// examine compares an intent that seems to differ once more. Between the two looks at the
// processor lies the look at our books: if the intent has not changed, then they differ.
func (r *reconciliation) examine(ctx context.Context, intent stripe.Intent) error {
	ref := attemptRef{intent.MerchantID, intent.AttemptID}
	for range 3 {
		books, err := r.booked(ctx, ref)
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

// remedyNotHere depends on whether the processor still knows the key for certain.
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

// ofIntent reads an intent and our books on it; nil if the intent is not ours.
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
	books, err := r.booked(ctx, ref)
	return intent, books[ref], err
}
