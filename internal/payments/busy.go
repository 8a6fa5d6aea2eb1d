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

// A busy row is one whose lock another session holds. It must not stall the callers of
// other rows, whose operations share a transaction with those that need it. So a
// transaction waits for a row for lockPatience only. Then it runs again and leaves busy
// rows out. The operations that need one of these give their keys back, and wait outside
// of any transaction until the row is free. They hold no key meanwhile, so retries under
// the same key, on any instance, stall nothing either.

const (
	// lockPatience is far above the time of a COMMIT, which is the usual wait for a row,
	// and far below what callers of other rows would notice.
	lockPatience = 250 * time.Millisecond
	// lookInterval is how often an instance looks whether busy rows are free.
	lookInterval = 50 * time.Millisecond
)

// row names a row that operations lock, of an account or of a payment.
type row struct {
	account ledger.Ref
	payment paymentRef
}

// busyRows are the busy rows that callers of this instance wait for. All of these share
// one look, on one connection for reads.
type busyRows struct {
	pool   *pgxpool.Pool
	looks  *groupcommit.Group[row, *look]
	latest atomic.Pointer[map[row]bool] // the rows that the last look found busy
	next   <-chan time.Time             // the next look may begin; owned by the group's worker
}

// look asks whether a row is free.
type look struct {
	row  row
	free bool
}

func newBusyRows(pool *pgxpool.Pool, waitersMax int) *busyRows {
	b := &busyRows{pool: pool}
	b.latest.Store(&map[row]bool{})
	b.looks = groupcommit.New[row](groupcommit.Config[*look]{
		Commit: b.look, Workers: 1, BatchSizeMax: waitersMax, QueueSizeMax: waitersMax,
		Timeout: 2 * time.Second,
	})
	return b
}

// known is the rows that the last look found busy.
func (b *busyRows) known() map[row]bool { return *b.latest.Load() }

// wait returns nil when the row is free. It returns ErrOverloaded if too many callers
// wait, and ErrUnavailable when ctx ends, or if a look fails.
func (b *busyRows) wait(ctx context.Context, r row) error {
	for {
		looked, err := b.looks.Do(ctx, r, &look{row: r})
		switch {
		case errors.Is(err, groupcommit.ErrQueueFull):
			return fmt.Errorf("%w for a row that another session has locked", ErrOverloaded)
		case err != nil:
			return fmt.Errorf("%w: waiting for a row that another session has locked: %w",
				ErrUnavailable, err)
		case looked.free:
			return nil
		}
	}
}

// look finds out which of the rows are free, by locking those for a moment.
func (b *busyRows) look(ctx context.Context, looks []*look) error {
	if b.next != nil {
		<-b.next
	}
	b.next = time.After(lookInterval)
	var accounts []ledger.Ref
	var payments []paymentRef
	for _, l := range looks {
		if l.row.payment == (paymentRef{}) {
			accounts = append(accounts, l.row.account)
		} else {
			payments = append(payments, l.row.payment)
		}
	}
	q := &pgx.Batch{}
	// nothing that it writes must be on the disk
	q.Queue(`SELECT set_config('synchronous_commit', 'off', true)`)
	freeAccounts := ledger.QueueLock(q, accounts, ledger.SkipLocked)
	freePayments := queueLockPayments(q, payments, ledger.SkipLocked)
	if err := b.pool.SendBatch(ctx, q).Close(); err != nil {
		return fmt.Errorf("%w: looking at busy rows: %w", groupcommit.ErrIndivisible, err)
	}
	busy := map[row]bool{}
	for _, l := range looks {
		_, free := freeAccounts.Account(l.row.account)
		l.free = free || freePayments[l.row.payment] != nil
		if !l.free {
			busy[l.row] = true
		}
	}
	b.latest.Store(&busy)
	return nil
}

// lockingAfter is how the next run of a transaction locks rows, after one that failed.
func lockingAfter(err error) ledger.Locking {
	if postgres.LockTimedOut(err) {
		return ledger.SkipLocked
	}
	return ledger.WaitForLocks
}

// rowLocking is how one run of a transaction locks its rows. It leaves out the rows that
// are known to be busy. Of all rows that it may not get, it finds out which exist: an
// operation that needs one of these is blocked, and not refused as if there were none.
type rowLocking struct {
	mode ledger.Locking
	busy map[row]bool // known to be

	// These are filled by the round trip that follows.
	existingAccounts map[ledger.Ref]bool
	existingPayments map[paymentRef]bool
}

// limitLockWait applies to the locks of payments and accounts, which come after it, and
// never to claims: a duplicate must wait for its key.
var limitLockWait = fmt.Sprintf(`SET LOCAL lock_timeout = %d`, lockPatience.Milliseconds())

// queueClock reads the database's clock. It comes after the locks, and ends their limit.
func queueClock(q *pgx.Batch, clock *time.Time) {
	q.Queue(`SELECT clock_timestamp(), set_config('lock_timeout', $1, true)`,
		strconv.FormatInt(postgres.LockTimeout.Milliseconds(), 10),
	).QueryRow(func(row pgx.Row) error { return row.Scan(clock, nil) })
}

func (r *rowLocking) lockPayments(q *pgx.Batch, refs []paymentRef) map[paymentRef]*Payment {
	lock, uncertain := split(r, refs, func(ref paymentRef) row { return row{payment: ref} })
	locked := queueLockPayments(q, lock, r.mode)
	r.existingPayments = queueExistingPayments(q, uncertain)
	return locked
}

func (r *rowLocking) lockAccounts(q *pgx.Batch, refs []ledger.Ref) *ledger.Book {
	lock, uncertain := split(r, refs, func(ref ledger.Ref) row { return row{account: ref} })
	book := ledger.QueueLock(q, lock, r.mode)
	r.existingAccounts = ledger.QueueExisting(q, uncertain)
	if len(uncertain) > 0 {
		// Without a row lock, a transaction that only replays would have nothing to commit,
		// and would not wait for the standby.
		q.Queue(postgres.WriteNothing)
	}
	return book
}

// split separates the rows that are to be locked from those that are known to be busy.
// Those that the transaction may not get are uncertain.
func split[Ref any](r *rowLocking, refs []Ref, name func(Ref) row) (lock, uncertain []Ref) {
	for _, ref := range refs {
		known := r.busy[name(ref)]
		if !known {
			lock = append(lock, ref)
		}
		if known || r.mode == ledger.SkipLocked {
			uncertain = append(uncertain, ref)
		}
	}
	return lock, uncertain
}

// blocking is a busy row that the operation needs; nil if there is none.
func (r *rowLocking) blocking(op *operation, locked *state) *row {
	accounts := op.accounts
	if op.existing {
		ref := refOf(&op.claim)
		payment := locked.payments[ref]
		if payment == nil {
			if r.existingPayments[ref] {
				return &row{payment: ref}
			}
			return nil
		}
		accounts = payment.accounts()
	}
	for _, ref := range accounts {
		if _, ok := locked.book.Account(ref); !ok && r.existingAccounts[ref] {
			return &row{account: ref}
		}
	}
	return nil
}
