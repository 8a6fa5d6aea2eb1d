package cards

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/service"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// booked is a card payment as both sides have to know it.
type booked struct {
	intent, attempt    string
	status             string // ours
	captured, refunded int64
	taken              int    // how often the card was charged
	refunds            string // the attempts of those that succeeded, sorted
}

// judgeBooks fails the test unless our books and the processor's have the same payments,
// each once.
func (b *bench) judgeBooks() {
	b.Helper()
	ours, theirs := b.ourBooks(), b.theirBooks()
	for intent, payment := range ours {
		other, ok := theirs[intent]
		switch {
		case !ok:
			b.Errorf("the processor has no intent %q of the payment %v", intent, payment)
		case payment != other:
			b.Errorf("the payment is %v, at the processor %v", payment, other)
		}
	}
	for intent, payment := range theirs {
		if _, ok := ours[intent]; !ok {
			b.Errorf("the processor's payment %v is not ours", payment)
		}
	}
	b.Logf("%d card payments in our books, %d at the processor", len(ours), len(theirs))
	b.clean("audit")
	b.reconcile()
}

// ourBooks are the card payments of our database, by intent.
func (b *bench) ourBooks() map[string]booked {
	b.Helper()
	rows, err := b.db.Pool.Query(b.Context(), `
		SELECT coalesce(a.intent_id, ''), a.id::text, p.status, p.amount_captured,
			p.amount_refunded,
			array_to_string(ARRAY(
				SELECT r.id::text FROM processor_attempts r
				JOIN refunds f ON f.merchant_id = r.merchant_id AND f.id = r.refund_id
				WHERE r.merchant_id = p.merchant_id AND r.payment_id = p.id
					AND f.status = 'succeeded'
				ORDER BY 1), ' ')
		FROM payments p
		JOIN processor_attempts a ON a.merchant_id = p.merchant_id AND a.payment_id = p.id
			AND a.operation IN ('charge', 'authorize')`)
	b.must(err)
	books := map[string]booked{}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		var p booked
		err := row.Scan(&p.intent, &p.attempt, &p.status, &p.captured, &p.refunded, &p.refunds)
		if p.captured > 0 {
			p.taken = 1
		}
		if _, twice := books[p.intent]; twice {
			b.Errorf("two payments have the intent %q", p.intent)
		}
		books[p.intent] = p
		return struct{}{}, err
	})
	b.must(err)
	return books
}

// theirBooks are the processor's, in our words.
func (b *bench) theirBooks() map[string]booked {
	b.Helper()
	books := map[string]booked{}
	for _, i := range b.readBooks().Intents {
		p := booked{
			intent: i.ID, attempt: i.Metadata["paymentsvc_attempt"], status: i.Status,
			captured: i.AmountReceived, refunded: i.AmountRefunded, taken: i.TimesTaken,
		}
		switch {
		case i.Status == "requires_capture":
			p.status = "authorized"
		case i.Status == "canceled" && authorized(i):
			p.status = "canceled"
		case i.Status == "canceled":
			p.status = "declined"
		}
		var refunds []string
		for _, refund := range i.Refunds {
			if refund.Status == "succeeded" && !refund.Released {
				refunds = append(refunds, refund.Metadata["paymentsvc_attempt"])
			}
		}
		slices.Sort(refunds)
		p.refunds = strings.Join(refunds, " ")
		books[p.intent] = p
	}
	return books
}

// authorized tells whether the card ever held the money.
func authorized(i simulator.BookIntent) bool {
	return slices.ContainsFunc(i.Charges, func(c simulator.BookCharge) bool {
		return c.FailureCode == ""
	})
}

// readBooks reads the processor's books.
func (b *bench) readBooks() (books simulator.Books) {
	b.Helper()
	response, err := http.Get(b.processor.URL() + "/books")
	b.must(err)
	defer response.Body.Close()
	b.must(json.NewDecoder(response.Body).Decode(&books))
	return books
}

// clean fails the test unless the command finds nothing wrong.
func (b *bench) clean(command string, settings ...string) {
	b.Helper()
	child := service.Launch(b, append(settings, "DATABASE_URL="+b.db.URL), command)
	if code := child.ExitCode(); code != 0 {
		b.Errorf("paymentsvc %s ends with %d:\n%s%s", command, code, child.Stdout.String(),
			child.Stderr.String())
	}
}

// reconcile fails the test unless the service itself finds no difference.
func (b *bench) reconcile() {
	b.Helper()
	b.must(b.processor.SetFaults(b.Context(), simulator.Faults{}))
	b.clean("reconcile", service.AllowDataLoss,
		"STRIPE_SECRET_KEY="+simulator.DefaultSecret, "STRIPE_URL="+b.processor.URL())
}
