package payments

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/groupcommit"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// A session that holds the lock of one account for long must not stall the callers of
// other accounts, whose operations share a transaction with it. So a transaction waits
// for a row for lockPatience only. Then it runs again and skips locked rows. The
// operations that need one of these give their keys back, and wait outside of any
// transaction until the row is free. They hold no key meanwhile, so retries under the
// same key, on any instance, stall nothing either.

const (
	// lockPatience is far above the time of a COMMIT, which is the usual wait for a
	// row, and far below what callers of other accounts would notice.
	lockPatience = 250 * time.Millisecond
	// probeInterval is how often the locked rows are looked at.
	probeInterval = 50 * time.Millisecond
)

// row names a row that operations lock, of an account or of a payment.
type row struct {
	account ledger.Ref
	payment paymentRef
}

// lockedRows are the rows that other sessions hold, and the callers that wait for them.
// All of these share one connection.
type lockedRows struct {
	pool    *pgxpool.Pool
	waiting *groupcommit.Group[row, *probe]
	found   atomic.Pointer[map[row]bool] // those that the last look found locked
	next    <-chan time.Time             // the next look may begin; owned by the group's worker
}

// probe is one look at a row.
type probe struct {
	row  row
	free bool
}

func newLockedRows(pool *pgxpool.Pool, waitersMax int) *lockedRows {
	l := &lockedRows{pool: pool}
	l.found.Store(&map[row]bool{})
	l.waiting = groupcommit.New[row](groupcommit.Config[*probe]{
		Commit: l.probe, Workers: 1, BatchSizeMax: waitersMax, QueueSizeMax: waitersMax,
		Timeout: 2 * time.Second,
	})
	return l
}

// known is the rows that the last look found locked.
func (l *lockedRows) known() map[row]bool { return *l.found.Load() }

// wait returns nil when the row is free. It returns ErrOverloaded if too many callers
// wait, and ErrUnavailable when ctx ends.
func (l *lockedRows) wait(ctx context.Context, r row) error {
	for {
		probed, err := l.waiting.Do(ctx, r, &probe{row: r})
		switch {
		case errors.Is(err, groupcommit.ErrQueueFull):
			return fmt.Errorf("%w for a row that another session has locked", ErrOverloaded)
		case err != nil:
			return fmt.Errorf("%w: waiting for a row that another session has locked: %w",
				ErrUnavailable, err)
		case probed.free:
			return nil
		}
	}
}

// probe finds out which of the rows are free, by locking those for a moment.
func (l *lockedRows) probe(ctx context.Context, probes []*probe) error {
	if l.next != nil {
		<-l.next
	}
	l.next = time.After(probeInterval)
	var accounts []ledger.Ref
	var payments []paymentRef
	for _, p := range probes {
		if p.row.payment == (paymentRef{}) {
			accounts = append(accounts, p.row.account)
		} else {
			payments = append(payments, p.row.payment)
		}
	}
	q := &pgx.Batch{}
	q.Queue(`SET LOCAL synchronous_commit = off`) // it changes nothing
	freeAccounts := ledger.QueueLock(q, accounts, ledger.SkipLocked)
	freePayments := queueLockPayments(q, payments, ledger.SkipLocked)
	if err := l.pool.SendBatch(ctx, q).Close(); err != nil {
		return fmt.Errorf("%w: looking at locked rows: %w", groupcommit.ErrIndivisible, err)
	}
	found := map[row]bool{}
	for _, p := range probes {
		_, free := freeAccounts.Account(p.row.account)
		p.free = free || freePayments[p.row.payment] != nil
		if !p.free {
			found[p.row] = true
		}
	}
	l.found.Store(&found)
	return nil
}

// lockingAfter is how the next run of a transaction locks rows, after one that failed.
func lockingAfter(err error) ledger.Locking {
	if postgres.LockTimedOut(err) {
		return ledger.SkipLocked
	}
	return ledger.WaitForLocks
}

// rowsToLock are the rows of one batch. Those that others are known to hold are not
// waited for. Of the rows that it does not lock it finds out which exist: an operation
// that needs one of these is blocked, and is not refused as if there were none.
type rowsToLock struct {
	locking        ledger.Locking
	lockedByOthers map[row]bool

	// These are filled by the round trip that follows.
	accounts map[ledger.Ref]bool
	payments map[paymentRef]bool
}

// limitLockWait applies to the locks of payments and accounts, which come after it, and
// never to those of keys: a duplicate must wait for its key.
var limitLockWait = fmt.Sprintf(`SET LOCAL lock_timeout = %d`, lockPatience.Milliseconds())

// queueClock reads the database's clock. It comes after the locks, and ends their limit.
func queueClock(q *pgx.Batch, clock *time.Time) {
	q.Queue(`SELECT clock_timestamp(), set_config('lock_timeout', $1, true)`,
		strconv.FormatInt(postgres.LockTimeout.Milliseconds(), 10),
	).QueryRow(func(row pgx.Row) error { return row.Scan(clock, nil) })
}

func (r *rowsToLock) lockPayments(q *pgx.Batch, refs []paymentRef) map[paymentRef]*Payment {
	lock, uncertain := split(r, refs, func(ref paymentRef) row { return row{payment: ref} })
	locked := queueLockPayments(q, lock, r.locking)
	r.payments = queueExistingPayments(q, uncertain)
	return locked
}

func (r *rowsToLock) lockAccounts(q *pgx.Batch, refs []ledger.Ref) *ledger.Book {
	lock, uncertain := split(r, refs, func(ref ledger.Ref) row { return row{account: ref} })
	book := ledger.QueueLock(q, lock, r.locking)
	r.accounts = ledger.QueueExisting(q, uncertain)
	return book
}

// split separates the rows that are to be locked. Those that may not be locked after it
// are uncertain.
func split[Ref any](r *rowsToLock, refs []Ref, name func(Ref) row) (lock, uncertain []Ref) {
	for _, ref := range refs {
		known := r.lockedByOthers[name(ref)]
		if !known {
			lock = append(lock, ref)
		}
		if known || r.locking == ledger.SkipLocked {
			uncertain = append(uncertain, ref)
		}
	}
	return lock, uncertain
}

// blocking is the first row that the operation needs and another session has locked;
// nil if there is none.
func (r *rowsToLock) blocking(op *operation, locked *state) *row {
	accounts := op.accounts
	if op.existing {
		ref := refOf(&op.claim)
		payment := locked.payments[ref]
		if payment == nil {
			if r.payments[ref] {
				return &row{payment: ref}
			}
			return nil
		}
		accounts = payment.accounts()
	}
	for _, ref := range accounts {
		if _, ok := locked.book.Account(ref); !ok && r.accounts[ref] {
			return &row{account: ref}
		}
	}
	return nil
}
