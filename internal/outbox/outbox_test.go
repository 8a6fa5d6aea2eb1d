package outbox_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// The events of these tests belong to no payment. The audit would report them, so the
// databases are broken ones.

var at = time.Date(2026, 11, 1, 10, 0, 0, 123456000, time.UTC)

func newEvent(kind, data string) outbox.Event {
	return outbox.Event{
		MerchantID: 1, ID: uuid.Must(uuid.NewV7()), Type: kind, PaymentID: uuid.Must(uuid.NewV7()),
		PaymentVersion: 1, Data: []byte(data),
	}
}

// insert writes the events as the service does: with its role, in a pipelined batch.
func insert(ctx context.Context, tx pgx.Tx, events ...outbox.Event) error {
	batch := &pgx.Batch{}
	batch.Queue(`SET LOCAL ROLE paymentsvc_app`)
	outbox.QueueInsert(batch, events, at)
	return tx.SendBatch(ctx, batch).Close()
}

// stored reads events in the order of the feed.
func stored(t *testing.T, db *pgtest.DB, where string) []outbox.Event {
	t.Helper()
	rows, err := db.Pool.Query(t.Context(), `
		SELECT merchant_id, id, type, payment_id, payment_version, data::text
		FROM events WHERE created_at = '2026-11-01 10:00:00.123456Z' AND `+where+`
		ORDER BY transaction_id, id`)
	if err != nil {
		t.Fatal(err)
	}
	events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e outbox.Event, err error) {
		var data string
		err = row.Scan(&e.MerchantID, (*[16]byte)(&e.ID), &e.Type, (*[16]byte)(&e.PaymentID),
			&e.PaymentVersion, &data)
		e.Data = []byte(data)
		return e, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func wantEvents(t *testing.T, got []outbox.Event, want ...outbox.Event) {
	t.Helper()
	if !slices.EqualFunc(got, want, func(a, b outbox.Event) bool {
		return fmt.Sprint(a) == fmt.Sprint(b)
	}) {
		t.Errorf("the events are\n%+v\nwant\n%+v", got, want)
	}
}

func TestEventsKeepTheirBytesAndOrder(t *testing.T) {
	t.Parallel()
	db := pgtest.NewBroken(t)
	said := []outbox.Event{
		newEvent("payment.processing", `{"id":"pay_1"}`),
		// The bytes matter, because they are signed later.
		newEvent("payment.authorized", `{ "b": 1,  "a": 1.0, "a": 2 }`),
		newEvent("payment.succeeded", `{"description":"\u0000 ü \"quoted\" \\ 💶"}`),
		newEvent("payment.declined", `{}`),
		newEvent("payment.canceled", `{}`),
	}
	if err := pgx.BeginFunc(t.Context(), db.Pool, func(tx pgx.Tx) error {
		return insert(t.Context(), tx, said...)
	}); err != nil {
		t.Fatal(err)
	}
	wantEvents(t, stored(t, db, "true"), said...)
}
