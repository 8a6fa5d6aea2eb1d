package payments

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// ruling is what a batch decided about one key. Everybody who waits under the key gets the same one.
type ruling struct {
	record      *idempotency.Record     // what the key stands for now; nil: nothing, it is still free
	refusal     *Refusal                // why the key is still free
	fingerprint idempotency.Fingerprint // of the request that was refused
	now         time.Time               // the database's clock
}

// errRecordMissing means that a key is taken and yet has no row. No interleaving of transactions can do that.
var errRecordMissing = errors.New("a key is taken, but its row cannot be found")

// transact commits a batch of operations, whose keys differ, in one transaction, and rules on each. It is the only place where
// money moves.
func (s *Service) transact(ctx context.Context, operations []*operation) ([]ruling, error) {
	var rulings []ruling
	err := s.committer.Run(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		b := &batch{operations: operations, render: s.render}
		if err := b.claimAndLock(ctx, tx); err != nil { // steps 1 and 2
			return err
		}
		if err := b.lookUpTaken(ctx, tx); err != nil {
			return err
		}
		rulings = b.decide()                                     // step 3
		return tx.Commit(ctx, func(q *pgx.Batch) { b.write(q) }) // steps 4 and 5
	})
	return rulings, err
}

// batch is the state of one run of one transaction. Nothing of it outlives the run: after an unknown outcome the
// operations are run again from nothing.
type batch struct {
	operations []*operation
	render     func(Outcome) idempotency.Answer

	claimed    map[uuid.UUID]bool // the request ids whose key is ours
	records    map[idempotency.Key]*idempotency.Record
	named      map[reference]uuid.UUID // the references that are ours, as they were inserted
	references references
	book       *ledger.Book
	clock      time.Time // the database's, after the locks
	now        time.Time // the same, unless an account's last entry is later: an account's history never goes back

	payments []*Payment
	keys     []string // under which the payments were made, in the same order
	events   []outbox.Event
	answers  []idempotency.Record
	released []idempotency.Claim // of requests that are refused
}

// claimAndLock is one round trip: claim every key and every reference, then lock every account, then read the clock.
// Each waits for the rivals that hold what it wants, always in this order and each kind ascending, so that transactions queue
// up and never wait for each other in a circle.
func (b *batch) claimAndLock(ctx context.Context, tx *postgres.Tx) error {
	claims, wanted, accounts := b.wants()
	err := tx.RoundTrip(ctx, func(q *pgx.Batch) {
		idempotency.QueueClaims(q, claims, func(ids map[uuid.UUID]bool) { b.claimed = ids })
		if len(wanted) > 0 {
			queueReferenceClaims(q, wanted, func(ours map[reference]uuid.UUID) { b.named = ours })
		}
		ledger.QueueLock(q, accounts, func(locked []ledger.Balance) { b.book = ledger.NewBook(locked) })
		// Read after the locks: whoever comes second on an account also has the later time.
		q.Queue(`SELECT clock_timestamp()`).QueryRow(func(row pgx.Row) error { return row.Scan(&b.clock) })
	})
	if err != nil {
		return fmt.Errorf("claiming and locking: %w", err)
	}
	b.now = b.clock
	if last := b.book.LastEntryAt(); b.now.Before(last) {
		b.now = last
	}
	b.references = make(references, len(wanted))
	for name := range b.named {
		b.references[name] = uuid.UUID{}
	}
	return nil
}

// wants lists what the batch will claim and lock, each thing once.
func (b *batch) wants() (claims []idempotency.Claim, names map[reference]uuid.UUID, accounts []ledger.Ref) {
	claims = make([]idempotency.Claim, len(b.operations))
	names = map[reference]uuid.UUID{}
	seen := make(map[ledger.Ref]bool, 2*len(b.operations))
	for i, op := range b.operations {
		claims[i] = op.claim
		name := reference{op.claim.MerchantID, op.reference}
		if _, asked := names[name]; op.reference != "" && !asked {
			names[name] = op.claim.PaymentID
		}
		for _, account := range op.accounts {
			if !seen[account] {
				seen[account] = true
				accounts = append(accounts, account)
			}
		}
	}
	return claims, names, accounts
}

// lookUpTaken reads what stands in the way: the records of keys that are taken, and the payments that hold references. It
// is a statement after the claims, because the claims waited for rivals whose rows only a later statement sees. A batch
// without retries needs no such look, and no round trip for it.
func (b *batch) lookUpTaken(ctx context.Context, tx *postgres.Tx) error {
	var taken []idempotency.Key
	var held []reference
	for _, op := range b.operations {
		if !b.claimed[op.claim.RequestID] {
			taken = append(taken, op.claim.Key)
			continue
		}
		name := reference{op.claim.MerchantID, op.reference}
		if _, known := b.references[name]; op.reference != "" && !known {
			held = append(held, name)
		}
	}
	if len(taken) == 0 && len(held) == 0 {
		return nil
	}
	err := tx.RoundTrip(ctx, func(q *pgx.Batch) {
		idempotency.QueueRecords(q, taken, func(records map[idempotency.Key]*idempotency.Record) { b.records = records })
		queueReferenceHolders(q, held, b.references)
	})
	if err != nil {
		return fmt.Errorf("looking up taken keys: %w", err)
	}
	for _, key := range taken {
		if b.records[key] == nil {
			return errRecordMissing
		}
	}
	for _, name := range held {
		if _, known := b.references[name]; !known {
			return postgres.ErrAgain // its holder was canceled between the two statements
		}
	}
	return nil
}

// decide rules on every operation, in the order of their arrival, on the running state of the books.
func (b *batch) decide() []ruling {
	books := &books{ledger: b.book, references: b.references, now: b.now}
	rulings := make([]ruling, len(b.operations))
	for i, op := range b.operations {
		rulings[i].now = b.clock
		if !b.claimed[op.claim.RequestID] {
			rulings[i].record = b.records[op.claim.Key]
			continue
		}
		decided := op.decide(books)
		if decided.refusal != nil {
			b.released = append(b.released, op.claim)
			rulings[i].refusal = decided.refusal
			rulings[i].fingerprint = op.claim.Fingerprint
			continue
		}
		rulings[i].record = b.keep(op.claim, decided)
	}
	return rulings
}

// keep notes a decision for the writing, and returns the record that its key will stand for.
func (b *batch) keep(claim idempotency.Claim, decided decision) *idempotency.Record {
	text := decided.payment.JSON()
	rendered := b.render(Outcome{Payment: decided.payment, JSON: text, RequestID: claim.RequestID})
	b.payments = append(b.payments, decided.payment)
	b.keys = append(b.keys, claim.Value)
	b.events = append(b.events, outbox.Event{
		MerchantID: claim.MerchantID,
		ID:         newID(),
		Type:       decided.event,
		PaymentID:  decided.payment.ID,
		Data:       text,
	})
	record := idempotency.Record{Claim: claim, Answer: &rendered, AnsweredAt: b.now}
	b.answers = append(b.answers, record)
	return &record
}

// write queues everything that was decided. COMMIT goes with it in the same round trip.
func (b *batch) write(q *pgx.Batch) {
	if len(b.payments) > 0 {
		queuePayments(q, b.payments, b.keys)
		b.book.QueueWrite(q, b.now)
		outbox.QueueInsert(q, b.events, b.now)
		idempotency.QueueAnswers(q, b.answers, b.now)
	}
	if len(b.released) > 0 {
		idempotency.QueueRelease(q, b.released)
	}
	moved, freed := b.settleReferences()
	if len(moved) > 0 {
		queueReferenceMoves(q, moved)
	}
	if len(freed) > 0 {
		queueReferenceRelease(q, freed)
	}
}

// settleReferences lists the names that this transaction claimed for one payment and that ended with another, or with
// none: their first payment was declined, refused, or turned out to be a retry.
func (b *batch) settleReferences() (moved map[reference]uuid.UUID, freed []reference) {
	moved = map[reference]uuid.UUID{}
	for name, first := range b.named {
		holder, held := b.references.holder(name)
		switch {
		case !held:
			freed = append(freed, name)
		case holder != first:
			moved[name] = holder
		}
	}
	return moved, freed
}
