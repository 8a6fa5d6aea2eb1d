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

// commit is transact, traced if tracing is on.
func (s *Service) commit(ctx context.Context, operations []*operation) (_ []ruling, err error) {
	if s.trace == nil {
		return s.transact(ctx, operations)
	}
	requests := make([]context.Context, 0, len(operations))
	for _, op := range operations {
		requests = append(requests, op.request)
	}
	ctx, end := s.trace(ctx, requests)
	defer func() { end(err) }()
	return s.transact(ctx, operations)
}

// Full tells whether another charge would be turned away now, because too many wait already.
func (s *Service) Full() bool { return s.group.Waiting() >= s.queueMax }

// transact commits a batch of operations, whose keys differ, in one transaction, and rules on each. It is the only place where
// money moves.
func (s *Service) transact(ctx context.Context, operations []*operation) ([]ruling, error) {
	var rulings []ruling
	err := s.committer.Run(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		b := &batch{operations: operations, render: s.render, authorizedFor: s.authorizedFor}
		if err := b.claimAndLock(ctx, tx); err != nil { // steps 1 and 2
			return err
		}
		if err := b.lookUp(ctx, tx); err != nil { // the rest of step 2, which most batches do not need
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
	operations    []*operation
	render        func(Outcome) idempotency.Answer
	authorizedFor time.Duration

	claimed map[uuid.UUID]bool // the request ids whose key is ours
	records map[idempotency.Key]*idempotency.Record
	stored  references // what the rows of the references say that this batch is about
	held    references // the same, on the running state of the decisions
	locked  map[paymentRef]*Payment
	book    *ledger.Book
	clock   time.Time // the database's, after the locks
	now     time.Time // the same, unless an account's last entry is later: an account's history never goes back

	created    []*Payment
	keys       []string // under which the payments were created, in the same order
	changed    map[paymentRef]*Payment
	refunds    []*Refund
	refundKeys []string // likewise
	events     []outbox.Event
	answers    []idempotency.Record
	released   []idempotency.Claim // of requests that are refused
}

// claimAndLock is one round trip: claim every key and every reference, lock every payment, then every account, then read the
// clock. Each waits for the rivals that hold what it wants, always in this order and each kind ascending, so that transactions
// queue up and never wait for each other in a circle.
func (b *batch) claimAndLock(ctx context.Context, tx *postgres.Tx) error {
	w := b.wants()
	b.stored, b.held = references{}, references{}
	err := tx.RoundTrip(ctx, func(q *pgx.Batch) {
		idempotency.QueueClaims(q, w.claims, func(ids map[uuid.UUID]bool) { b.claimed = ids })
		if len(w.references) > 0 {
			queueReferenceClaims(q, w.references, b.stored)
		}
		if len(w.payments) > 0 {
			// Which accounts they move money between, these rows will tell.
			queueLockPayments(q, w.payments, func(locked map[paymentRef]*Payment) { b.locked = locked })
			return
		}
		b.queueLockAccounts(q, w.accounts)
	})
	if err != nil {
		return fmt.Errorf("claiming and locking: %w", err)
	}
	for name := range b.stored {
		b.held[name] = uuid.UUID{} // ours now, and nobody's yet
	}
	for _, payment := range b.locked {
		b.noteReference(payment)
	}
	return nil
}

// noteReference notes the name that a locked payment holds; nobody else can free it.
func (b *batch) noteReference(p *Payment) {
	if name := (reference{p.MerchantID, p.Reference}); p.Reference != "" && p.Status.live() {
		b.stored[name], b.held[name] = p.ID, p.ID
	}
}

// queueLockAccounts locks the accounts and then reads the clock: whoever comes second on an account also has the later time.
func (b *batch) queueLockAccounts(q *pgx.Batch, accounts []ledger.Ref) {
	ledger.QueueLock(q, accounts, func(locked []ledger.Balance) { b.book = ledger.NewBook(locked) })
	q.Queue(`SELECT clock_timestamp()`).QueryRow(func(row pgx.Row) error { return row.Scan(&b.clock) })
}

// wants is what the batch will claim and lock, each thing once.
type wants struct {
	claims     []idempotency.Claim
	references references // and the first payment that asks for each
	payments   []paymentRef
	accounts   []ledger.Ref
}

func (b *batch) wants() wants {
	w := wants{claims: make([]idempotency.Claim, len(b.operations)), references: references{}}
	payments := map[paymentRef]bool{}
	accounts := make(map[ledger.Ref]bool, 2*len(b.operations))
	for i, op := range b.operations {
		w.claims[i] = op.claim
		name := reference{op.claim.MerchantID, op.reference}
		if _, asked := w.references[name]; op.reference != "" && !asked {
			w.references[name] = op.claim.PaymentID
		}
		if payment := paymentOf(op.claim); op.changes && !payments[payment] {
			payments[payment] = true
			w.payments = append(w.payments, payment)
		}
		w.accounts = appendNew(w.accounts, accounts, op.accounts)
	}
	return w
}

func appendNew(all []ledger.Ref, seen map[ledger.Ref]bool, refs []ledger.Ref) []ledger.Ref {
	for _, ref := range refs {
		if !seen[ref] {
			seen[ref] = true
			all = append(all, ref)
		}
	}
	return all
}

// lookUp is a second round trip, for what the first one brought up: the records of keys that are taken, the payments that
// hold references, and the accounts of the payments that are changed. It reads in statements after the claims, because the
// claims waited for rivals whose rows only a later statement sees. A batch of charges without retries does not need it.
func (b *batch) lookUp(ctx context.Context, tx *postgres.Tx) error {
	taken, names := b.inTheWay()
	if len(taken) > 0 || len(names) > 0 || b.book == nil {
		err := tx.RoundTrip(ctx, func(q *pgx.Batch) {
			if len(taken) > 0 {
				idempotency.QueueRecords(q, taken, func(records map[idempotency.Key]*idempotency.Record) { b.records = records })
			}
			if len(names) > 0 {
				queueReferenceHolders(q, names, b.stored)
			}
			if b.book == nil {
				b.queueLockAccounts(q, b.accountsOfAll())
			}
		})
		if err != nil {
			return fmt.Errorf("looking up what is taken, and locking accounts: %w", err)
		}
	}
	for _, key := range taken {
		if b.records[key] == nil {
			return errRecordMissing
		}
	}
	for _, name := range names {
		holder, found := b.stored[name]
		if !found {
			return postgres.ErrAgain // its holder was canceled between the two statements
		}
		b.held[name] = holder
	}
	b.now = b.clock
	if last := b.book.LastEntryAt(); b.now.Before(last) {
		b.now = last
	}
	return nil
}

// inTheWay lists the keys that are taken, and the names that somebody holds whom this batch has not locked.
func (b *batch) inTheWay() (taken []idempotency.Key, names []reference) {
	for _, op := range b.operations {
		if !b.claimed[op.claim.RequestID] {
			taken = append(taken, op.claim.Key)
			continue
		}
		name := reference{op.claim.MerchantID, op.reference}
		if _, known := b.stored[name]; op.reference != "" && !known {
			names = append(names, name)
		}
	}
	return taken, names
}

// accountsOfAll are the accounts that the operations name, and those that the locked payments name.
func (b *batch) accountsOfAll() (accounts []ledger.Ref) {
	seen := make(map[ledger.Ref]bool, 2*len(b.operations))
	for _, op := range b.operations {
		accounts = appendNew(accounts, seen, op.accounts)
	}
	for _, p := range b.locked {
		accounts = appendNew(accounts, seen, p.accounts())
	}
	return accounts
}

// decide rules on every operation, in the order of their arrival, on the running state of the books.
func (b *batch) decide() []ruling {
	books := &books{
		ledger: b.book, payments: b.locked, references: b.held, now: b.now, clock: b.clock, authorizedFor: b.authorizedFor,
	}
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
		rulings[i].record = b.keep(op, decided)
	}
	return rulings
}

// keep notes a decision for the writing, and returns the record that its key will stand for.
func (b *batch) keep(op *operation, decided decision) *idempotency.Record {
	claim := op.claim
	if op.changes {
		b.noteChange(claim, decided)
	} else {
		b.created = append(b.created, decided.payment)
		b.keys = append(b.keys, claim.Value)
	}
	event := eventOf(decided)
	b.events = append(b.events, event)
	rendered := b.render(Outcome{
		Payment: decided.payment, Created: !op.changes, Refund: decided.refund, JSON: event.Data, RequestID: claim.RequestID,
	})
	record := idempotency.Record{Claim: claim, Answer: &rendered, AnsweredAt: b.now}
	b.answers = append(b.answers, record)
	return &record
}

// noteChange notes what an operation did to a payment. Several of them in one batch make one UPDATE, to the last state.
func (b *batch) noteChange(claim idempotency.Claim, decided decision) {
	if decided.refund != nil {
		b.refunds = append(b.refunds, decided.refund)
		b.refundKeys = append(b.refundKeys, claim.Value)
	}
	if b.changed == nil {
		b.changed = map[paymentRef]*Payment{}
	}
	b.changed[paymentOf(claim)] = decided.payment
}

func eventOf(decided decision) outbox.Event {
	event := outbox.Event{
		MerchantID: decided.payment.MerchantID,
		ID:         newID(),
		Type:       decided.event,
		PaymentID:  decided.payment.ID,
	}
	if decided.refund != nil {
		event.RefundID = &decided.refund.ID
		event.Data = decided.refund.JSON()
		return event
	}
	event.Data = decided.payment.JSON()
	return event
}

// write queues everything that was decided. COMMIT goes with it in the same round trip.
func (b *batch) write(q *pgx.Batch) {
	if len(b.created) > 0 {
		queuePayments(q, b.created, b.keys)
	}
	if len(b.changed) > 0 {
		queuePaymentChanges(q, b.changed)
	}
	if len(b.refunds) > 0 {
		queueRefunds(q, b.refunds, b.refundKeys)
	}
	if len(b.answers) > 0 {
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

// settleReferences lists the names whose rows are no longer true: their payment was declined, refused, canceled, or turned
// out to be a retry, and another one holds the name now, or none does. Every such row is this transaction's own, or belongs
// to a payment that it has locked.
func (b *batch) settleReferences() (moved references, freed []reference) {
	moved = references{}
	for name, before := range b.stored {
		holder, held := b.held.holder(name)
		switch {
		case !held:
			freed = append(freed, name)
		case holder != before:
			moved[name] = holder
		}
	}
	return moved, freed
}
