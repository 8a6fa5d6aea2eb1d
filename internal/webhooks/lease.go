package webhooks

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/internal/unnest"
)

// endpointKey names an endpoint among all that ever were.
type endpointKey struct {
	merchantID int64
	uid        uuid.UUID
}

// delivery is a leased delivery: one try of it.
type delivery struct {
	endpointKey
	endpointID      string
	endpointVersion int64
	at              outbox.Position
	number          int64 // of this try
	lease           uuid.UUID
	message         message
	eventDeleted    bool // by the retention

	leasedAt time.Time // by the process's clock
	now      time.Time // the same moment by the database's clock
}

//go:embed lease.sql
var leaseSQL string

// room is how many more deliveries of an endpoint may be leased.
type room struct {
	endpointKey
	free int64
}

// merchantsDue finds the merchants with due deliveries. Every merchant that ever had an
// endpoint has the cursor.
const merchantsDue = `
	SELECT c.merchant_id FROM feed_cursors c
	WHERE c.consumer = $1 AND EXISTS (
		SELECT FROM webhook_deliveries d
		WHERE d.merchant_id = c.merchant_id AND d.status = 'pending'
			AND d.next_attempt_at <= statement_timestamp())`

// lease takes up to limit due deliveries: of each endpoint leasedAtFirst, or as many as
// the list says. It passes over rows that another instance has locked. With an error, it
// may still have taken some.
func (s *Service) lease(
	ctx context.Context, rooms []room, limit int,
) (leased []delivery, err error) {
	err = postgres.EachMerchant(ctx, s.pool, s.sharded, merchantsDue, []any{outbox.Webhooks},
		func(merchantID *int64) error {
			if len(leased) == limit {
				return nil
			}
			more, err := s.leaseOf(ctx, merchantID, rooms, limit-len(leased))
			leased = append(leased, more...)
			return err
		})
	return leased, err
}

func (s *Service) leaseOf(
	ctx context.Context, merchantID *int64, rooms []room, limit int,
) (leased []delivery, err error) {
	token, leasedAt := uuid.New(), time.Now()
	q := &pgx.Batch{}
	q.Queue(postgres.NotDurable)
	q.Queue(postgres.InIndexOrder)
	q.Queue(leaseSQL,
		unnest.Column(rooms, func(r room) int64 { return r.merchantID }),
		unnest.Column(rooms, func(r room) [16]byte { return r.uid }),
		unnest.Column(rooms, func(r room) int64 { return r.free }),
		leasedAtFirst, limit, token, s.schedule.Lease, merchantID,
	).Query(func(rows pgx.Rows) error {
		leased, err = pgx.CollectRows(rows, scanDelivery)
		return err
	})
	if err := s.pool.SendBatch(ctx, q).Close(); err != nil {
		return nil, fmt.Errorf("leasing webhook deliveries: %w", err)
	}
	for i := range leased {
		leased[i].lease, leased[i].leasedAt = token, leasedAt
	}
	return leased, nil
}

func scanDelivery(row pgx.CollectableRow) (d delivery, err error) {
	var isTest bool
	var begunAt time.Time
	var kind *string
	var paymentID *[16]byte
	var paymentVersion *int64
	var data []byte
	var createdAt *time.Time
	if err := row.Scan(&d.merchantID, (*[16]byte)(&d.uid), &d.at.TransactionID,
		(*[16]byte)(&d.at.ID), &d.number, &isTest, &begunAt, &d.endpointID, &d.endpointVersion,
		&d.message.url, &d.message.secrets, &d.now,
		&kind, &paymentID, &paymentVersion, &data, &createdAt); err != nil {
		return delivery{}, err
	}
	d.message.id = d.at.EventID()
	switch {
	case isTest:
		d.message.body = testEvent(d.at, begunAt)
	case kind == nil:
		d.eventDeleted = true
	default:
		event := outbox.Event{
			MerchantID: d.merchantID, ID: d.at.ID, Type: *kind, PaymentID: *paymentID,
			PaymentVersion: *paymentVersion, Data: data,
			TransactionID: d.at.TransactionID, CreatedAt: *createdAt,
		}
		d.message.body = event.JSON()
	}
	return d, nil
}

// TestType is the type of test events. They are about no payment.
const TestType = "webhook.test"

// testEvent writes a test event: the same bytes at each try.
func testEvent(at outbox.Position, createdAt time.Time) []byte {
	return fmt.Appendf(nil, `{"id":"%s","type":"%s","created_at":"%s","data":{}}`, at.EventID(),
		TestType, createdAt.UTC().Format(outbox.TimeFormat))
}
