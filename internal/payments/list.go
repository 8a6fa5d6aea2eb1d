package payments

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/internal/unnest"
)

// Filter narrows a list of payments. A field with its zero value does not narrow it.
type Filter struct {
	Status        Status
	Reference     string
	Key           string // the caller's idempotency key that the payment belongs to
	Account       string // its source or its destination
	CreatedFrom   *time.Time
	CreatedBefore *time.Time // exclusive, so that spans of time can be put side by side
}

// Page is a part of a list, newest first. It may be shorter than its limit, and even
// empty, and still not be the last: only a nil Next means that there is no more.
type Page struct {
	Payments []*Payment
	Next     *uuid.UUID // where the next page begins
}

// Newest is where a list begins: above every payment's id.
var Newest = uuid.Max

// examinedMax is how many payments a page of a filtered list looks at. The filters have
// no indexes: every index on this table would cost each charge, for ever. So the reader
// pays for a filter that few payments meet, in pages that are found quickly and hold
// little.
const examinedMax = 10_000

// List reads the page of up to limit payments that begins below the id before.
//
// Ids are made in the order of time, so their index is the list, newest first. A page
// is a span of ids, and its filters apply to that span only. So pages never overlap and
// leave nothing out, whatever is paid meanwhile. A payment that is committed late, with
// an id among those already read, is not on a later page: it was not there when the
// list began.
func (s *Service) List(
	ctx context.Context, merchantID int64, filter Filter, before uuid.UUID, limit int,
) (Page, error) {
	if filter.Key != "" {
		return s.listByKey(ctx, merchantID, filter)
	}
	var from uuid.UUID // zero: below every payment
	if filter != (Filter{}) {
		var err error
		if from, err = s.lastExamined(ctx, merchantID, before); err != nil {
			return Page{}, err
		}
	}
	found, err := s.find(ctx, `
		SELECT `+paymentColumns+`
		FROM payments p
		WHERE p.merchant_id = $1 AND p.id < $2 AND p.id >= $3 `+matchesFilter+`
		ORDER BY p.id DESC
		LIMIT $9`, filter, limit+1, merchantID, before, from)
	switch {
	case err != nil:
		return Page{}, err
	case len(found) > limit:
		return Page{Payments: found[:limit], Next: &found[limit-1].ID}, nil
	case from != uuid.Nil:
		return Page{Payments: found, Next: &from}, nil
	default:
		return Page{Payments: found}, nil
	}
}

// lastExamined is the id of the last payment that a page below before looks at; zero if
// it looks at all of them.
func (s *Service) lastExamined(
	ctx context.Context, merchantID int64, before uuid.UUID,
) (id uuid.UUID, err error) {
	batch := &pgx.Batch{}
	batch.Queue(postgres.InIndexOrder)
	batch.Queue(`
		SELECT p.id
		FROM payments p
		WHERE p.merchant_id = $1 AND p.id < $2
		ORDER BY p.id DESC
		OFFSET $3
		LIMIT 1`, merchantID, before, examinedMax-1,
	).QueryRow(func(row pgx.Row) error { return row.Scan(&id) })
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, fmt.Errorf("listing payments: %w", err)
	}
	return id, nil
}

// listByKey reads the one payment that a key stands for. Keys are kept for ever, so
// this finds the payment long after the stored answer is gone.
func (s *Service) listByKey(ctx context.Context, merchantID int64, filter Filter) (Page, error) {
	found, err := s.find(ctx, `
		SELECT `+paymentColumns+`
		FROM payments p
		WHERE p.merchant_id = $1
			AND p.id = (
				SELECT k.payment_id FROM idempotency_keys k
				WHERE k.merchant_id = $1 AND k.scope = $2 AND k.key = $3)
			`+matchesFilter+`
		LIMIT $9`, filter, 1, merchantID, string(idempotency.ScopeClient), filter.Key)
	return Page{Payments: found}, err
}

// matchesFilter are the conditions of a Filter, except for the key.
const matchesFilter = `
	AND ($4::text IS NULL OR p.status = $4)
	AND ($5::text IS NULL OR p.reference = $5)
	AND ($6::text IS NULL OR p.source_account = $6 OR p.destination_account = $6)
	AND ($7::timestamptz IS NULL OR p.created_at >= $7)
	AND ($8::timestamptz IS NULL OR p.created_at < $8)`

// find runs a statement. Its first parameters are its own, then come those of
// matchesFilter, then the limit.
func (s *Service) find(
	ctx context.Context, sql string, filter Filter, limit int, own ...any,
) (found []*Payment, err error) {
	args := slices.Concat(own, []any{
		unnest.Nullable(string(filter.Status)), unnest.Nullable(filter.Reference),
		unnest.Nullable(filter.Account),
		roundUp(filter.CreatedFrom), roundUp(filter.CreatedBefore), limit,
	})
	batch := &pgx.Batch{}
	batch.Queue(postgres.InIndexOrder)
	batch.Queue(sql, args...).Query(func(rows pgx.Rows) error {
		found, err = pgx.CollectRows(rows, scanPayment)
		return err
	})
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("listing payments: %w", err)
	}
	return found, nil
}

// roundUp rounds a bound to Postgres's microseconds. Rounding down would let in rows
// below a lower bound, and leave out rows below an upper one.
func roundUp(at *time.Time) *time.Time {
	if at == nil {
		return nil
	}
	whole := at.Truncate(time.Microsecond)
	if whole.Before(*at) {
		whole = whole.Add(time.Microsecond)
	}
	return &whole
}
