package outbox

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/internal/unnest"
)

// The feed of a merchant is its events in the order of (transaction_id, id).
//
// That is not the order in which they become visible: a transaction takes its id before
// it waits for locks, and commits overtake each other. A reader that remembered the last
// event would skip those that commit late. So a reader sees only events of transactions
// below the oldest one that still runs, pg_snapshot_xmin: nothing can be added there. Any
// writing transaction of the cluster that stays open holds the feed back, in other
// databases too.

// Errors of reading.
var (
	// ErrCursorLost means that the event that the cursor names is gone: the retention has
	// deleted it and later ones, or the database is an older copy of itself. What came
	// after it cannot be known.
	ErrCursorLost = errors.New("the event that the cursor names is gone, so the events after " +
		"it may be incomplete")
	ErrNotFound = errors.New("there is no such event")
	// ErrForeignIDs means that a transaction of another cluster wrote the event that the
	// cursor names, and that this cluster has not given out the transaction's id yet. New
	// events would come before the cursor. See [CheckIDs].
	ErrForeignIDs = errors.New("events were restored with transaction ids that this " +
		"database cluster has not reached")
)

// Position is a place in a merchant's feed: that of an event, or the beginning (zero).
// It is what the event's id says.
type Position struct {
	TransactionID uint64
	ID            uuid.UUID
}

// Position is where the event stands in the feed.
func (e *Event) Position() Position { return Position{e.TransactionID, e.ID} }

const (
	eventIDPrefix = "evt_"
	positionSize  = 8 + len(uuid.UUID{})
)

// EventID writes the id of the event at the position as callers see it: "evt_" and 48
// hexadecimal digits, which sort in the order of the feed. The position is in it, so that
// an event is found by the primary key.
func (p Position) EventID() string { return eventIDPrefix + hex.EncodeToString(p.Bytes()) }

// Bytes is the position in a form that sorts as the feed does.
func (p Position) Bytes() []byte {
	return append(binary.BigEndian.AppendUint64(nil, p.TransactionID), p.ID[:]...)
}

// ErrInvalidID means that a text cannot be the id of any event.
var ErrInvalidID = errors.New("not an event's id")

// ParseEventID reads what EventID wrote, and nothing else.
func ParseEventID(text string) (Position, error) {
	digits, ok := strings.CutPrefix(text, eventIDPrefix)
	raw, err := hex.DecodeString(digits)
	if !ok || err != nil || strings.ContainsAny(digits, "ABCDEF") {
		return Position{}, ErrInvalidID
	}
	return ParsePosition(raw)
}

// ParsePosition reads what Bytes wrote.
func ParsePosition(raw []byte) (p Position, err error) {
	if len(raw) != positionSize {
		return Position{}, ErrInvalidID
	}
	p.TransactionID = binary.BigEndian.Uint64(raw)
	copy(p.ID[:], raw[8:])
	return p, nil
}

// Types are all types of events.
var Types = []string{
	"payment.processing", "payment.authorized", "payment.succeeded", "payment.declined",
	"payment.canceled", "refund.processing", "refund.succeeded", "refund.declined",
}

// TimeFormat is RFC 3339 with microseconds, which is what Postgres keeps. Times are UTC.
const TimeFormat = "2006-01-02T15:04:05.000000Z"

// JSON writes the event as the world sees it. Every reader gets these bytes: webhooks
// sign them.
func (e *Event) JSON() []byte {
	return fmt.Appendf(nil, `{"id":"%s","type":"%s","created_at":"%s","payment_id":"pay_%s",`+
		`"payment_version":%d,"data":%s}`,
		e.Position().EventID(), e.Type, e.CreatedAt.UTC().Format(TimeFormat),
		hex.EncodeToString(e.PaymentID[:]), e.PaymentVersion, e.Data)
}

// Feed reads events.
type Feed struct {
	pool    *pgxpool.Pool
	sharded bool
}

// NewFeed reads on connections of the pool. sharded is the database's mode, see package
// postgres.
func NewFeed(pool *pgxpool.Pool, sharded bool) *Feed { return &Feed{pool, sharded} }

// Filter narrows a reading. A field with its zero value does not narrow it.
type Filter struct {
	Type      string
	PaymentID uuid.UUID
}

// payment is the payment as a parameter; null: any.
func (f *Filter) payment() *[16]byte {
	if f.PaymentID == uuid.Nil {
		return nil
	}
	return (*[16]byte)(&f.PaymentID)
}

// Page is a part of the feed. It may be empty and still not be the last: the feed ends
// where Next is the position at which the reading began.
type Page struct {
	Events []Event
	Next   Position // where the next page begins
}

// examinedMax is how many events one reading looks at. The filters have no indexes: every
// index on this table would cost each charge.
const examinedMax = 2000

// Read reads up to limit events after a position: nil is before the oldest event that is
// kept. It returns ErrCursorLost if events after the position may be missing.
//
// An event that it returns is as safe as the answer to the request that made it, and so is
// the one that Next names: a synchronous standby has it, too.
func (f *Feed) Read(
	ctx context.Context, merchantID int64, after *Position, filter Filter, limit int,
) (page Page, err error) {
	return f.confirmed(ctx, after, func(conn *pgx.Conn) (Page, error) {
		return read(ctx, conn, merchantID, after, filter, limit)
	})
}

// read reads the page first and its cursor after that. The retention deletes the oldest
// events first. So while the cursor's event is there, no later one is missing from the
// page. Without a cursor it reads the horizon first: what is deleted after that is below
// the first page.
func read(
	ctx context.Context, db postgres.Querier, merchantID int64, after *Position, filter Filter,
	limit int,
) (page Page, err error) {
	var from Position
	if after != nil {
		from = *after
	}
	var kept, foreign bool // the cursor's event is there; its transaction's id is to come
	var horizon Position
	q := &pgx.Batch{}
	if after == nil {
		queueHorizon(q, merchantID, &horizon)
	}
	q.Queue(postgres.InIndexOrder)
	queuePage(q, merchantID, from, filter, limit, func(rows pgx.Rows) error {
		page, err = collectPage(rows, from)
		return err
	})
	if after != nil {
		q.Queue(`
			SELECT EXISTS (
					SELECT FROM events e
					WHERE e.merchant_id = $1 AND e.transaction_id = $2 AND e.id = $3),
				$2::xid8 >= pg_snapshot_xmax(pg_current_snapshot())`,
			merchantID, from.TransactionID, from.ID,
		).QueryRow(func(row pgx.Row) error { return row.Scan(&kept, &foreign) })
		queueHorizon(q, merchantID, &horizon)
	}
	if err := db.SendBatch(ctx, q).Close(); err != nil {
		return Page{}, fmt.Errorf("reading the feed: %w", err)
	}
	switch {
	case after == nil && page.Next == (Position{}):
		page.Next = horizon
	case after != nil && !kept && from != horizon:
		return Page{}, ErrCursorLost
	case foreign:
		return Page{}, ErrForeignIDs
	}
	return page, nil
}

// queuePage reads events in the order of the feed. With a filter, the last row is the last
// event that was examined, whether it matches or not.
func queuePage(
	q *pgx.Batch, merchantID int64, from Position, filter Filter, limit int,
	collect func(pgx.Rows) error,
) {
	if filter == (Filter{}) {
		q.Queue(`
			SELECT `+eventColumns+`, true
			FROM events e
			WHERE e.merchant_id = $1 AND (e.transaction_id, e.id) > ($2, $3)
				AND e.transaction_id < pg_snapshot_xmin(pg_current_snapshot())
			ORDER BY e.transaction_id, e.id
			LIMIT $4`,
			merchantID, from.TransactionID, from.ID, limit).Query(collect)
		return
	}
	q.Queue(`
		WITH examined AS (
			SELECT `+eventColumns+`,
				coalesce(e.type = $5, true) AND coalesce(e.payment_id = $6, true) AS matches
			FROM events e
			WHERE e.merchant_id = $1 AND (e.transaction_id, e.id) > ($2, $3)
				AND e.transaction_id < pg_snapshot_xmin(pg_current_snapshot())
			ORDER BY e.transaction_id, e.id
			LIMIT $4),
		last AS (
			SELECT e.transaction_id, e.id FROM examined e
			ORDER BY e.transaction_id DESC, e.id DESC
			LIMIT 1)
		SELECT `+eventColumns+`, e.matches
		FROM examined e
		WHERE e.matches OR EXISTS (
			SELECT FROM last WHERE last.transaction_id = e.transaction_id AND last.id = e.id)
		ORDER BY e.transaction_id, e.id
		LIMIT $7`,
		merchantID, from.TransactionID, from.ID, examinedMax, unnest.Nullable(filter.Type),
		filter.payment(), limit).Query(collect)
}

// collectPage keeps the events that match the filter. The last row is where the next page
// begins, whether it matches or not.
func collectPage(rows pgx.Rows, from Position) (Page, error) {
	page := Page{Next: from}
	err := forEachEvent(rows, func(e Event, matches bool) {
		page.Next = e.Position()
		if matches {
			page.Events = append(page.Events, e)
		}
	})
	return page, err
}

// forEachEvent reads rows of eventColumns and whether the event matches the filter.
func forEachEvent(rows pgx.Rows, do func(e Event, matches bool)) error {
	var e Event
	var matches bool
	_, err := pgx.ForEachRow(rows, append(e.fields(), &matches), func() error {
		do(e, matches)
		e.Data = nil // the next row gets bytes of its own
		return nil
	})
	return err
}

const eventColumns = `e.merchant_id, e.transaction_id, e.id, e.type, e.payment_id,
	e.payment_version, e.data, e.created_at`

// fields are where the columns go.
func (e *Event) fields() []any {
	return []any{
		&e.MerchantID, &e.TransactionID, (*[16]byte)(&e.ID), &e.Type, (*[16]byte)(&e.PaymentID),
		&e.PaymentVersion, &e.Data, &e.CreatedAt,
	}
}

// queueHorizon reads the last event that the retention has deleted; zero if none.
func queueHorizon(q *pgx.Batch, merchantID int64, horizon *Position) {
	q.Queue(`
		SELECT h.transaction_id, h.event_id
		FROM event_horizons h
		WHERE h.merchant_id = $1`, merchantID,
	).Query(func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&horizon.TransactionID, (*[16]byte)(&horizon.ID)},
			func() error { return nil })
		return err
	})
}

// Get reads one event, or returns ErrNotFound. An event that the feed does not show yet is
// not found.
func (f *Feed) Get(ctx context.Context, merchantID int64, at Position) (e Event, err error) {
	err = postgres.Confirm(ctx, f.pool, func(conn *pgx.Conn) error {
		err := conn.QueryRow(ctx, `
			SELECT `+eventColumns+`
			FROM events e
			WHERE e.merchant_id = $1 AND e.transaction_id = $2 AND e.id = $3
				AND e.transaction_id < pg_snapshot_xmin(pg_current_snapshot())`,
			merchantID, at.TransactionID, at.ID).Scan(e.fields()...)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return ErrNotFound
		case err != nil:
			return fmt.Errorf("reading an event: %w", err)
		}
		return nil
	})
	return e, err
}
