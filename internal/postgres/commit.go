package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Committer runs money transactions until their outcome is known.
//
// The hard part is a COMMIT whose answer does not arrive. The change may be durable or
// lost, and the connection that could tell is gone. A committer never guesses, and
// never reports such a transaction as failed. It closes the connection and runs the
// same unit again on another one. That is safe, because the unit claims idempotency
// keys. If the first COMMIT took effect, the second run finds its own claims and reads
// the answers. If it did not, the second run is the first. If the first is still
// running in the server, the second waits for it inside its INSERT of the same key.
//
// A COMMIT counts as done only if all of this is true:
//   - its command tag is COMMIT (an aborted transaction answers COMMIT with the tag ROLLBACK);
//   - no WARNING came since it was sent (a cancelled wait for a synchronous standby is
//     success with a warning);
//   - the server is idle again.
//
// It counts as rolled back only if the server reported an ERROR and went on living, or
// still holds the transaction open. Everything else is unknown: even FATAL 57P01 may
// follow a durable commit.
type Committer struct {
	pool   *pgxpool.Pool
	logger *slog.Logger
	reruns [unknown + 1]atomic.Int64 // by the outcome of the run before
	// failing is set while runs fail because of the database. A run that commits or is
	// rejected clears it.
	failing atomic.Pointer[failure]
}

// NewCommitter runs its transactions on the connections of pool.
func NewCommitter(pool *pgxpool.Pool, logger *slog.Logger) *Committer {
	return &Committer{pool: pool, logger: logger}
}

// CommitterStats are counts since the committer was made.
type CommitterStats struct {
	// Transactions that ran again, by the outcome of the run before: it lost to a
	// rival, the database could not work, or its COMMIT was sent and not answered.
	RerunsAfterConflict, RerunsAfterUnavailable, RerunsAfterUnknown int64
}

// Stats are the counts so far.
func (c *Committer) Stats() CommitterStats {
	return CommitterStats{
		RerunsAfterConflict:    c.reruns[conflicted].Load(),
		RerunsAfterUnavailable: c.reruns[unavailable].Load(),
		RerunsAfterUnknown:     c.reruns[unknown].Load(),
	}
}

// Unit is the work of one money transaction, which must end with tx.Commit. It may be
// run several times, so it must begin from nothing each time. If an earlier run took
// effect, the next run must find that out, and have no second effect.
type Unit func(ctx context.Context, tx *Tx) error

// Run runs the unit until it is committed, rejected for its data, or ctx ends. Without
// a commit the error is ErrOutcomeUnknown if the COMMIT of any run may have taken
// effect. Else it is the rejection, or ErrUnavailable. ctx must not be a caller's: a
// client that hangs up decides nothing.
func (c *Committer) Run(ctx context.Context, unit Unit) error {
	everUnknown := false
	for attempt := 0; ; attempt++ {
		result, err := c.try(ctx, unit)
		c.note(result, err)
		if result == committed {
			return err
		}
		everUnknown = everUnknown || result == unknown
		giveUp := result == rejected || !sleep(ctx, backoff(attempt))
		switch {
		case giveUp && everUnknown:
			return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
		case giveUp && result == rejected:
			return err
		case giveUp:
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		c.reruns[result].Add(1)
		c.logger.WarnContext(ctx, "money transaction runs again",
			"attempt", attempt+1, "outcome_unknown", everUnknown, "error", err)
	}
}

// try runs the unit once on a connection of its own, for at most tryTimeout.
func (c *Committer) try(ctx context.Context, unit Unit) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	conn, err := c.pool.Acquire(ctx)
	if err != nil {
		return outcomeOf(err), fmt.Errorf("connecting: %w", err)
	}
	defer conn.Release() // the pool closes a connection that is not idle
	tx := newTx(conn.Conn())
	finished := false
	defer func() {
		if !finished { // the unit panicked
			tx.abandon()
		}
	}()
	err = unit(ctx, tx)
	finished = true
	result := tx.judge(err)
	if result != committed {
		tx.rollBack(result)
		if err == nil {
			err = errors.New("the unit of work ended without a commit")
		}
	}
	return result, err
}

// backoff grows from 10 ms to half a second, with full jitter, so that instances that
// failed together do not return together. Source: "Exponential Backoff And Jitter", AWS
// Architecture Blog.
func backoff(attempt int) time.Duration {
	ceiling := min(10*time.Millisecond<<min(attempt, 10), 500*time.Millisecond)
	return rand.N(ceiling) //nolint:gosec // jitter needs no secrecy
}

// sleep waits for d, and reports false at once if ctx would end first.
func sleep(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// Tx is a money transaction: a few round trips, each of which sends all of its
// statements at once.
type Tx struct {
	conn       *pgx.Conn
	statements *pgx.Batch // of the next round trip
	commitSent bool
	confirmed  bool // the COMMIT is believed
}

// newTx begins a transaction with its first round trip. It is READ COMMITTED:
// correctness rests on unique constraints and row locks, and each statement must see
// what rivals committed while it waited for them. A snapshot of the beginning would
// turn every such wait into an error.
func newTx(conn *pgx.Conn) *Tx {
	tx := &Tx{conn: conn, statements: &pgx.Batch{}}
	tx.statements.Queue(`BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE`)
	return tx
}

// Statements are those of the next round trip, to be added to.
func (tx *Tx) Statements() *pgx.Batch { return tx.statements }

// Send makes a round trip: it sends the statements and handles their results.
func (tx *Tx) Send(ctx context.Context) error {
	statements := tx.statements
	tx.statements = &pgx.Batch{}
	return tx.conn.SendBatch(ctx, statements).Close()
}

// Commit makes the last round trip: it sends the statements with COMMIT behind them. If
// a statement fails, the server skips the COMMIT. See Committer for when the COMMIT
// counts as done.
func (tx *Tx) Commit(ctx context.Context) error {
	var tag pgconn.CommandTag
	tx.statements.Queue(`COMMIT`).Exec(func(t pgconn.CommandTag) error {
		tag = t
		return nil
	})
	server := tx.conn.PgConn()
	forgetWarning(server)
	tx.commitSent = true
	if err := tx.Send(ctx); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	if tag.String() != "COMMIT" {
		return fmt.Errorf("committing: the server answered %q", tag)
	}
	if warning := warningOf(server); warning != nil {
		return fmt.Errorf("committing: the server warned: %s (%s)", warning.Message, warning.Code)
	}
	if status := server.TxStatus(); status != 'I' {
		return fmt.Errorf("committing: the server is in state %q", status)
	}
	tx.confirmed = true
	return nil
}

// judge finds what became of the transaction whose unit ended with err.
func (tx *Tx) judge(err error) outcome {
	switch {
	case tx.confirmed:
		return committed
	case err == nil:
		return rejected // the unit forgot to commit
	case !tx.commitSent && !tx.conn.IsClosed() && ofUnit(err):
		return rejected
	case !tx.commitSent:
		return outcomeOf(err)
	case tx.conn.IsClosed():
		return unknown
	case tx.conn.PgConn().TxStatus() != 'I': // still open, so the COMMIT was skipped
		return outcomeOf(err)
	}
	var reported *pgconn.PgError
	if errors.As(err, &reported) && reported.SeverityUnlocalized == "ERROR" {
		return outcomeOf(err) // the COMMIT itself failed, and the server lives on
	}
	return unknown
}

// rollBack frees the transaction's locks at once. It closes a connection that may be at
// fault, or that does not roll back.
func (tx *Tx) rollBack(result outcome) {
	open := !tx.conn.IsClosed() && tx.conn.PgConn().TxStatus() != 'I'
	if open && (result == rejected || result == conflicted) {
		ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
		defer cancel()
		if _, err := tx.conn.Exec(ctx, `ROLLBACK`); err == nil {
			return
		}
	}
	if open || result == unavailable || result == unknown {
		tx.abandon()
	}
}

// abandon closes the connection, which rolls back whatever is open on it.
func (tx *Tx) abandon() {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	// there is nothing to be done about a connection that cannot even be closed
	_ = tx.conn.Close(ctx)
}

// A connection's last WARNING is kept with the connection, which one goroutine uses at
// a time.
const warningKey = "paymentsvc.warning"

func rememberWarning(c *pgconn.PgConn, notice *pgconn.Notice) {
	if notice.SeverityUnlocalized == "WARNING" {
		c.CustomData()[warningKey] = notice
	}
}

func forgetWarning(c *pgconn.PgConn) { delete(c.CustomData(), warningKey) }

func warningOf(c *pgconn.PgConn) *pgconn.Notice {
	warning, _ := c.CustomData()[warningKey].(*pgconn.Notice)
	return warning
}
