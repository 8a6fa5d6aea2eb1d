// Package outbox writes down what happened, in the transaction that makes it happen.
//
// It is the transactional outbox pattern: an event is a row beside the change that it reports, so one cannot exist without
// the other, whatever dies when. Telling the world is a separate, later step that may be repeated.
package outbox

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Event is one change of state.
type Event struct {
	MerchantID int64
	ID         uuid.UUID
	Type       string // "payment.succeeded"
	PaymentID  uuid.UUID
	RefundID   *uuid.UUID // of a refund's event
	Data       []byte     // JSON: the payment, or the refund, as it was after the change
}

// QueueInsert queues the events on a pipelined batch of somebody's transaction; at is that transaction's now.
func QueueInsert(b *pgx.Batch, events []Event, at time.Time) {
	n := len(events)
	merchants, ids, types := make([]int64, n), make([][16]byte, n), make([]string, n)
	payments, refunds, data := make([][16]byte, n), make([]*[16]byte, n), make([]string, n)
	for i, e := range events {
		merchants[i], ids[i], types[i], payments[i], data[i] = e.MerchantID, e.ID, e.Type, e.PaymentID, string(e.Data)
		refunds[i] = (*[16]byte)(e.RefundID)
	}
	b.Queue(`
		INSERT INTO events (merchant_id, id, type, payment_id, refund_id, data, created_at)
		SELECT e.merchant_id, e.id, e.type, e.payment_id, e.refund_id, e.data::json, $7
		FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::text[])
			AS e (merchant_id, id, type, payment_id, refund_id, data)`,
		merchants, ids, types, payments, refunds, data, at)
}
