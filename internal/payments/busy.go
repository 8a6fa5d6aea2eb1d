package payments

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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

// busyRows are the busy rows that callers of this instance wait for. One worker looks at
// all of them, in one round trip each time.
type busyRows struct {
	pool   *pgxpool.Pool
	looks  *groupcommit.Group[row, *look]
	latest atomic.Pointer[map[row]bool] // the rows that the last look found busy
	next   <-chan time.Time             // the next look may begin; owned by the group's worker
}

// look asks whether a row is busy.
type look struct {
	row  row
	busy bool
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

// wait returns nil when the row is not busy. It returns ErrOverloaded if too many callers
// wait, and ErrUnavailable when ctx ends.
func (b *busyRows) wait(ctx context.Context, r row) error {
	for {
		looked, err := b.looks.Do(ctx, r, &look{row: r})
		switch {
		case errors.Is(err, groupcommit.ErrQueueFull):
			return fmt.Errorf("%w for a row that another session has locked", ErrOverloaded)
		case errors.Is(err, groupcommit.ErrIndivisible) && ctx.Err() == nil:
			continue // the look failed; the next one is due after lookInterval
		case err != nil:
			return fmt.Errorf("%w: waiting for a row that another session has locked: %w",
				ErrUnavailable, err)
		case !looked.busy:
			return nil
		}
	}
}

// look finds out which of the rows are busy, by locking the others for a moment. It looks
// also at those that were busy before: their callers may be in the next batch.
func (b *busyRows) look(ctx context.Context, looks []*look) error {
	if b.next != nil {
		<-b.next
	}
	b.next = time.After(lookInterval)
	rows := maps.Clone(b.known())
	for _, l := range looks {
		rows[l.row] = true
	}
	if err := b.removeFree(ctx, rows); err != nil {
		return fmt.Errorf("%w: looking at busy rows: %w", groupcommit.ErrIndivisible, err)
	}
	for _, l := range looks {
		l.busy = rows[l.row]
	}
	b.latest.Store(&rows)
	return nil
}

// merchant is whose row it is.
func (r row) merchant() int64 { return cmp.Or(r.account.MerchantID, r.payment.merchantID) }

// removeFree leaves the rows that exist and cannot be locked.
func (b *busyRows) removeFree(ctx context.Context, rows map[row]bool) error {
	byMerchant := map[int64][]row{}
	for r := range rows {
		byMerchant[r.merchant()] = append(byMerchant[r.merchant()], r)
	}
	for _, looked := range byMerchant {
		if err := b.removeFreeOf(ctx, looked, rows); err != nil {
			return err
		}
	}
	return nil
}

// removeFreeOf looks at rows of one merchant.
func (b *busyRows) removeFreeOf(ctx context.Context, looked []row, rows map[row]bool) error {
	var accounts []ledger.Ref
	var payments []paymentRef
	for _, r := range looked {
		if r.payment == (paymentRef{}) {
			accounts = append(accounts, r.account)
		} else {
			payments = append(payments, r.payment)
		}
	}
	q := &pgx.Batch{}
	// a look changes nothing, so its COMMIT need not wait for the disk
	q.Queue(postgres.NotDurable)
	freeAccounts := ledger.QueueLock(q, accounts, ledger.SkipLocked)
	freePayments := queueLockPayments(q, payments, ledger.SkipLocked)
	existingAccounts := ledger.QueueExisting(q, accounts)
	existingPayments := queueExistingPayments(q, payments)
	if err := b.pool.SendBatch(ctx, q).Close(); err != nil {
		return err
	}
	for _, r := range looked {
		_, free := freeAccounts.Account(r.account)
		if free || freePayments[r.payment] != nil ||
			!existingAccounts[r.account] && !existingPayments[r.payment] {
			delete(rows, r)
		}
	}
	return nil
}

// rowLocking is how one run of a transaction locks its rows. It leaves out the rows that
// are known to be busy.
type rowLocking struct {
	mode ledger.Locking
	busy map[row]bool

	reached bool // the claims are made; filled by the round trip
}

// queueLimit limits the waits for payments and accounts, which come after it, and never
// those for claims: a duplicate must wait for its key.
func (r *rowLocking) queueLimit(q *pgx.Batch) {
	q.Queue(`SELECT set_config('lock_timeout', $1, true)`, milliseconds(lockPatience)).
		QueryRow(func(row pgx.Row) error {
			r.reached = true
			return row.Scan(nil)
		})
}

// queueClock reads the database's clock. It comes after the locks, and ends their limit.
func queueClock(q *pgx.Batch, clock *time.Time) {
	q.Queue(`SELECT clock_timestamp(), set_config('lock_timeout', $1, true)`,
		milliseconds(postgres.LockTimeout),
	).QueryRow(func(row pgx.Row) error { return row.Scan(clock, nil) })
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// next is how the next run locks, after this one has failed.
func (r *rowLocking) next(err error) ledger.Locking {
	if r.reached && postgres.LockTimedOut(err) {
		return ledger.SkipLocked
	}
	return ledger.WaitForLocks
}

func (r *rowLocking) lockPayments(q *pgx.Batch, refs []paymentRef) map[paymentRef]*Payment {
	return queueLockPayments(q, slices.DeleteFunc(refs, func(ref paymentRef) bool {
		return r.busy[row{payment: ref}]
	}), r.mode)
}

func (r *rowLocking) lockAccounts(q *pgx.Batch, refs []ledger.Ref) *ledger.Book {
	return ledger.QueueLock(q, slices.DeleteFunc(refs, func(ref ledger.Ref) bool {
		return r.busy[row{account: ref}]
	}), r.mode)
}

// blocking is a row that the operation needs, and that may be busy; nil if there is none.
// A row that is missing after locked rows were skipped may also not exist. Then the next
// look says that it is not busy, and the operation is refused when it tries again.
func (r *rowLocking) blocking(op *operation, locked *state) *row {
	mayBeBusy := func(missing row) bool {
		return r.mode == ledger.SkipLocked || r.busy[missing]
	}
	accounts := op.accounts
	if op.existing {
		ref := refOf(&op.claim)
		payment := locked.payments[ref]
		if payment == nil {
			if missing := (row{payment: ref}); mayBeBusy(missing) {
				return &missing
			}
			return nil
		}
		accounts = payment.accounts()
	}
	for _, ref := range accounts {
		missing := row{account: ref}
		if _, ok := locked.book.Account(ref); !ok && mayBeBusy(missing) {
			return &missing
		}
	}
	return nil
}
