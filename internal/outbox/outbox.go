// Package outbox writes down what happened, in the transaction that makes it happen,
// and reads it back as a feed.
//
// It is the transactional outbox pattern. An event is a row beside the change that it
// reports, so one cannot exist without the other, whatever dies when. Telling the world
// is a later step, which may be repeated. A consumer reads the feed (feed.go) and keeps
// a cursor: the last event that it has handled (cursor.go).
package outbox

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/unnest"
)

// Event is one change of state.
type Event struct {
	MerchantID int64
	ID         uuid.UUID
	Type       string // "payment.succeeded"
	PaymentID  uuid.UUID
	RefundID   *uuid.UUID // of a refund's event; not read back
	// PaymentVersion is the payment's version after the change. Within a payment it is
	// the order of events.
	PaymentVersion int64
	Data           []byte // JSON: the payment or the refund, as it was after the change

	// The database gives these when the event is written.
	TransactionID uint64
	CreatedAt     time.Time
}

// QueueInsert queues the events on a round trip of the caller's transaction. at is its
// timestamp.
func QueueInsert(q *pgx.Batch, events []Event, at time.Time) {
	if len(events) == 0 {
		return
	}
	q.Queue(`
		INSERT INTO events (merchant_id, id, type, payment_id, refund_id, payment_version, data,
			created_at)
		SELECT e.merchant_id, e.id, e.type, e.payment_id, e.refund_id, e.payment_version,
			e.data::json, $8::timestamptz
		FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::bigint[],
				$7::text[])
			AS e (merchant_id, id, type, payment_id, refund_id, payment_version, data)`,
		unnest.Column(events, func(e Event) int64 { return e.MerchantID }),
		unnest.Column(events, func(e Event) [16]byte { return e.ID }),
		unnest.Column(events, func(e Event) string { return e.Type }),
		unnest.Column(events, func(e Event) [16]byte { return e.PaymentID }),
		unnest.Column(events, func(e Event) *[16]byte { return (*[16]byte)(e.RefundID) }),
		unnest.Column(events, func(e Event) int64 { return e.PaymentVersion }),
		unnest.Column(events, func(e Event) string { return string(e.Data) }),
		at)
}
