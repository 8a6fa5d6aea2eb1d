package cards

import (
	"context"
	"iter"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

// theirs says how to compare the objects of the processor's list.
type theirs[T any] struct {
	created func(*T) time.Time
	id      func(*T) string
	owner   func(*T) stripe.Owner
	compare func(*T, *booked) error // b is nil if we have no such attempt
	foreign func(*T) error          // nil, or for objects without metadata
}

// merge reads both lists from the newest to the oldest; see reconciliation.
func merge[T any](
	ctx context.Context, r *reconciliation, list iter.Seq2[T, error], t theirs[T], o ours,
) error {
	back := &backward{reconciliation: r, ours: o, before: r.Until}
	page := make([]T, 0, comparePageSize)
	compare := func() error {
		if err := t.comparePage(ctx, r, page); err != nil || len(page) == 0 {
			return err
		}
		oldest := t.created(&page[len(page)-1])
		page = page[:0]
		return back.compareDownTo(ctx, oldest.Add(clockSkew))
	}
	for one, err := range list {
		if err != nil {
			return err
		}
		if page = append(page, one); len(page) == cap(page) {
			if err := compare(); err != nil {
				return err
			}
		}
	}
	if err := compare(); err != nil {
		return err
	}
	return back.compareDownTo(ctx, r.Since)
}

// comparePage compares a page of the processor's list with our books.
func (t theirs[T]) comparePage(ctx context.Context, r *reconciliation, page []T) error {
	refs := make([]attemptRef, 0, len(page))
	for i := range page {
		if owner := t.owner(&page[i]); owner.Installation == r.installation {
			refs = append(refs, attemptRef{owner.MerchantID, owner.AttemptID})
			id := t.id(&page[i])
			if _, listed := r.listed[id]; listed {
				r.twice[id] = true
			}
			r.listed[id] = t.created(&page[i])
		}
	}
	books, err := r.readBooked(ctx, refs...)
	if err != nil {
		return err
	}
	for i := range page {
		switch owner := t.owner(&page[i]); {
		case owner.Installation == r.installation:
			err = t.compare(&page[i], books[attemptRef{owner.MerchantID, owner.AttemptID}])
		case owner == stripe.Owner{} && t.foreign != nil:
			err = t.foreign(&page[i])
		}
		if err != nil {
			return err
		}
	}
	r.progress(len(page))
	return nil
}

func (r *reconciliation) progress(n int) {
	r.compared += n
	if r.Progress != nil {
		r.Progress(r.compared)
	}
}

// ours says how to compare our attempts.
type ours struct {
	refunds  bool                 // only refunds, or all other operations
	id       func(*booked) string // the id of the attempt's object in the processor's list
	unlisted func(*booked) error  // for an attempt whose object is not among the listed ones
}

// backward goes through our attempts, the newest first.
type backward struct {
	*reconciliation
	ours
	before time.Time // the next page begins before this attempt
	last   attemptRef
	page   []*booked
	ended  bool
}

// compareDownTo compares the attempts that began at the time or later.
func (b *backward) compareDownTo(ctx context.Context, until time.Time) error {
	defer b.forget(until)
	for {
		if len(b.page) == 0 {
			if err := b.read(ctx); err != nil || len(b.page) == 0 {
				return err
			}
		}
		next := b.page[0]
		if next.createdAt.Before(until) {
			return nil
		}
		b.page = b.page[1:]
		if _, listed := b.listed[b.id(next)]; listed {
			continue
		}
		if err := b.unlisted(next); err != nil {
			return err
		}
	}
}

func (b *backward) read(ctx context.Context) (err error) {
	if b.ended {
		return nil
	}
	b.page, err = b.readBookedBefore(ctx, b.Since, b.before, b.last, b.ours.refunds,
		comparePageSize)
	if n := len(b.page); err == nil && n > 0 {
		b.before, b.last = b.page[n-1].createdAt, b.page[n-1].ref
	}
	b.ended = len(b.page) < comparePageSize
	return err
}

// forget drops the ids that are much newer than the attempts that are left.
func (b *backward) forget(until time.Time) {
	for id, at := range b.listed {
		if at.After(until.Add(2 * clockSkew)) {
			delete(b.listed, id)
		}
	}
}
