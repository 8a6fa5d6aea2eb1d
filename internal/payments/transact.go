package payments

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/groupcommit"
	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// transact commits a batch of operations, whose keys differ, in one transaction. It is
// the only place where money moves. It is two round trips: steps 1 and 2, then steps 4
// and 5. A batch with a taken key or reference, or with an operation on an existing
// payment, needs a third between them. The first round trip begins the transaction.
func (s *Service) transact(ctx context.Context, operations []*operation) error {
	locking := ledger.WaitForLocks
	err := s.committer.Run(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		// from nothing: this may run several times
		b := s.newBatch(operations, locking)
		b.claim(tx.Statements()) // 1 keys, references
		b.lock(tx.Statements())  // 2 payments, else accounts and then the clock
		if err := tx.Send(ctx); err != nil {
			locking = b.rows.next(err)
			return fmt.Errorf("claiming and locking: %w", err)
		}
		if err := b.lookUp(ctx, tx); err != nil { // records of taken keys; 2 accounts of payments
			locking = b.rows.next(err)
			return fmt.Errorf("looking up what is taken: %w", err)
		}
		b.decide()               // 3 pure functions, no I/O
		b.write(tx.Statements()) // 4 payments, entries, balances, events, answers
		return tx.Commit(ctx)    // 5
	})
	if errors.Is(err, postgres.ErrUnavailable) || errors.Is(err, postgres.ErrOutcomeUnknown) {
		return fmt.Errorf("%w: %w", groupcommit.ErrIndivisible, err) // no operation is at fault
	}
	return err
}

// batch is the state of one run of one transaction.
type batch struct {
	operations []*operation
	state      state
	rows       rowLocking

	// These are filled by the round trip that follows.
	claimed map[uuid.UUID]bool                      // the request ids whose key is ours
	taken   map[idempotency.Key]*idempotency.Record // what the other keys stand for

	// What was decided, to be written.
	created  []*Payment
	refunds  []*Refund
	events   []outbox.Event
	answered []*idempotency.Record
	released []*idempotency.Claim // of operations that are refused, or blocked
	attempts attemptChanges
}

func (s *Service) newBatch(operations []*operation, locking ledger.Locking) *batch {
	return &batch{
		operations: operations,
		rows:       rowLocking{mode: locking, busy: s.busy.known()},
		state: state{
			saved:         map[paymentRef]*Payment{},
			references:    newReferences(),
			authorizedFor: s.authorizedFor,
			attemptLease:  s.attemptLease,
			checkCard:     s.checkCard,
		},
	}
}

// claim queues the claims of step 1.
//
// Locks are taken in one order: keys, references, attempts, payments, accounts, and each
// kind ascending. So transactions queue up, and never wait for each other in a circle.
// Step 4 changes only rows that are locked or claimed by then, and the references of
// locked payments. It adds rows under new ids.
func (b *batch) claim(q *pgx.Batch) {
	claims := make([]*idempotency.Claim, len(b.operations))
	for i, op := range b.operations {
		claims[i] = &op.claim
	}
	b.claimed = idempotency.QueueClaims(q, claims)
	b.state.references.claim(q, b.operations)
}

// lock queues the locks of step 2. The rows of payments name more accounts. So in a
// batch with operations on existing payments, the accounts are locked in the next round
// trip.
func (b *batch) lock(q *pgx.Batch) {
	b.state.attempts = queueLockAttempts(q, b.operations)
	b.rows.queueLimit(q)
	wanted := map[paymentRef]bool{}
	for _, op := range b.operations {
		if op.existing {
			wanted[refOf(&op.claim)] = true
		}
	}
	if len(wanted) == 0 {
		b.lockAccounts(q)
		return
	}
	b.state.payments = b.rows.lockPayments(q, slices.Collect(maps.Keys(wanted)))
}

// lockAccounts locks the accounts of the operations and of the locked payments, and
// then reads the clock: the second transaction on an account also has the later time.
func (b *batch) lockAccounts(q *pgx.Batch) {
	accounts := make([]ledger.Ref, 0, 2*len(b.operations))
	seen := make(map[ledger.Ref]bool, 2*len(b.operations))
	add := func(refs []ledger.Ref) {
		for _, ref := range refs {
			if !seen[ref] {
				seen[ref] = true
				accounts = append(accounts, ref)
			}
		}
	}
	for _, op := range b.operations {
		add(op.accounts)
	}
	for _, payment := range b.state.payments {
		add(payment.accounts())
	}
	b.state.book = b.rows.lockAccounts(q, accounts)
	queueClock(q, &b.state.clock)
}

// errRecordMissing means that a key is taken and yet has no row. No interleaving of
// transactions can do that.
var errRecordMissing = errors.New("a key is taken, but its row cannot be found")

// lookUp ends step 2 with a round trip of its own, if the batch needs one. It reads the
// records of taken keys and the holders of taken references, and locks the accounts of
// locked payments. Its statements come after the claims: a claim that waited for a
// rival does not see the rival's row, but a later statement does.
func (b *batch) lookUp(ctx context.Context, tx *postgres.Tx) error {
	for _, payment := range b.state.payments {
		b.state.references.load(payment)
	}
	keys, names := b.notClaimed()
	accountsLocked := b.state.book != nil
	if len(keys) == 0 && len(names) == 0 && accountsLocked {
		return nil
	}
	b.taken = idempotency.QueueRecords(tx.Statements(), keys)
	if len(keys) > 0 {
		tx.Statements().Queue(postgres.WaitForStandby) // a replay is an acknowledgement, too
	}
	b.state.references.lookUp(tx.Statements(), names)
	b.state.refunds = queueAttemptedRefunds(tx.Statements(), b.state.attempts)
	if !accountsLocked {
		b.lockAccounts(tx.Statements())
	}
	if err := tx.Send(ctx); err != nil {
		return err
	}
	if len(b.taken) < len(keys) {
		return errRecordMissing
	}
	for _, name := range names {
		if _, held := b.state.references.holder(name); !held {
			return postgres.ErrAgain // its holder was canceled between the two statements
		}
	}
	return nil
}

// notClaimed lists the keys that are taken, and the references that a payment holds
// which this batch has not locked.
func (b *batch) notClaimed() (keys []idempotency.Key, names []reference) {
	for _, op := range b.operations {
		if !b.claimed[op.claim.RequestID] {
			keys = append(keys, op.claim.Key)
			continue
		}
		name := op.referenceName()
		if _, known := b.state.references.rows[name]; op.reference != "" && !known {
			names = append(names, name)
		}
	}
	return keys, names
}

// decide decides every operation whose key is ours, in the order of their arrival. For
// the others the record of their key decides.
func (b *batch) decide() {
	b.state.now = b.state.clock
	if last := b.state.book.LastEntryAt(); last.After(b.state.now) {
		b.state.now = last
	}
	for _, op := range b.operations {
		op.record, op.refusal, op.blockedBy, op.clock = nil, nil, nil, b.state.clock
		if !b.claimed[op.claim.RequestID] {
			op.record = b.taken[op.claim.Key]
			continue
		}
		if op.blockedBy = b.rows.blocking(op, &b.state); op.blockedBy != nil {
			b.released = append(b.released, &op.claim)
			continue
		}
		decided := op.decide(&b.state, &op.claim)
		if decided.refusal != nil {
			op.refusal = decided.refusal
			b.released = append(b.released, &op.claim)
			continue
		}
		op.record = b.keep(op, decided)
	}
}

// keep notes a decision for the writing, and returns the record that its key will stand
// for.
func (b *batch) keep(op *operation, decided decision) *idempotency.Record {
	if !op.existing {
		b.created = append(b.created, decided.payment)
	}
	if decided.refund != nil && decided.settled == nil {
		b.refunds = append(b.refunds, decided.refund)
	}
	event := decided.announce()
	if decided.event != "" {
		b.events = append(b.events, event)
	}
	if decided.begun != nil {
		return b.attempts.begin(op, decided.begun)
	}
	if decided.settled != nil {
		b.answered = append(b.answered, b.attempts.settle(&decided, event.Data, b.state.now))
	}
	answer := decided.answer(op.claim.Operation, op.claim.RequestID, event.Data)
	record := &idempotency.Record{Claim: op.claim, Answer: &answer, AnsweredAt: b.state.now}
	b.answered = append(b.answered, record)
	return record
}

// write queues everything that was decided. COMMIT goes with it in the same round trip.
func (b *batch) write(q *pgx.Batch) {
	queuePayments(q, b.created, b.state.now)
	queueSavedPayments(q, b.state.saved)
	queueRefunds(q, b.refunds, b.state.now)
	b.state.book.QueueWrite(q, b.state.now)
	outbox.QueueInsert(q, b.events, b.state.now)
	idempotency.QueueAnswers(q, b.answered, b.state.now)
	idempotency.QueueRelease(q, b.released)
	b.attempts.write(q, b.state.now)
	b.state.references.settle(q)
}
