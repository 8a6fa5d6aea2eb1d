package cards

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// ourPayment is a card payment as our books have it, with the attempt that charged it.
type ourPayment struct {
	status             payments.Status
	captured, refunded int64
	open               bool // an attempt is, or waits for a person
}

// ours reads the card payments, by the attempt that charged or authorized them.
func (tn *town) ours() map[string]ourPayment {
	tn.t.Helper()
	rows, err := tn.db.Pool.Query(context.Background(), `
		SELECT c.id, p.status, p.amount_captured, p.amount_refunded, EXISTS (
			SELECT FROM processor_attempts a
			WHERE a.merchant_id = p.merchant_id AND a.payment_id = p.id AND a.state <> 'settled')
		FROM payments p
		JOIN processor_attempts c ON c.merchant_id = p.merchant_id AND c.payment_id = p.id
			AND c.operation IN ('charge', 'authorize')`)
	if err != nil {
		tn.t.Fatal(err)
	}
	ours := map[string]ourPayment{}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		var id uuid.UUID
		var b ourPayment
		err := row.Scan(&id, &b.status, &b.captured, &b.refunded, &b.open)
		ours[id.String()] = b
		return struct{}{}, err
	})
	if err != nil {
		tn.t.Fatal(err)
	}
	return ours
}

// theirs reads the processor's intents, by the attempt in their metadata.
func (tn *town) theirs() map[string][]simulator.BookIntent {
	tn.t.Helper()
	books, err := tn.processor.Books()
	if err != nil {
		tn.t.Fatal(err)
	}
	theirs := map[string][]simulator.BookIntent{}
	for _, intent := range books.Intents {
		attempt := intent.Metadata["paymentsvc_attempt"]
		theirs[attempt] = append(theirs[attempt], intent)
	}
	return theirs
}

// intentOf is the one intent of a key's payment.
func (tn *town) intentOf(in *instance, key string) simulator.BookIntent {
	tn.t.Helper()
	intents := tn.theirs()[tn.attempt(in, key).ID.String()]
	if len(intents) != 1 {
		tn.t.Fatalf("%s has %d intents: %+v", key, len(intents), intents)
	}
	return intents[0]
}

// wantSameBooks compares the processor's books with ours, both ways. A payment may have
// more than one intent, but money was taken once at most. For payments that are not in a
// final state, only that is compared.
func (tn *town) wantSameBooks() {
	tn.t.Helper()
	ours, theirs := tn.ours(), tn.theirs()
	for attempt, intents := range theirs {
		var taken int
		var received, refunded int64
		live := false
		for _, intent := range intents {
			taken += intent.TimesTaken
			received += intent.AmountReceived
			refunded += intent.AmountRefunded
			live = live || intent.Status != "canceled" && intent.Status != "requires_confirmation"
		}
		payment, known := ours[attempt]
		if taken > 1 || taken > 0 && !known {
			tn.t.Errorf("attempt %s took money %d times: %+v; ours: %+v", attempt, taken, intents,
				payment)
		}
		if payment.open {
			continue
		}
		if received != payment.captured || refunded != payment.refunded {
			tn.t.Errorf("attempt %s: received %d and refunded %d, but our books have %+v", attempt,
				received, refunded, payment)
		}
		over := payment.status == payments.StatusDeclined ||
			payment.status == payments.StatusCanceled
		if over && live {
			tn.t.Errorf("attempt %s is %s, but can still succeed: %+v", attempt, payment.status,
				intents)
		}
	}
	for attempt, payment := range ours {
		if payment.captured > 0 && len(theirs[attempt]) == 0 {
			tn.t.Errorf("attempt %s has %+v, and the processor has no intent", attempt, payment)
		}
	}
}
