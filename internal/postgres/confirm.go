package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Confirm is for acknowledged writes that do not move money. It calls work with a
// connection of the pool, and returns nil only when all that work wrote and read is as
// safe as a COMMIT promises, on a synchronous standby too.
//
// The statements of work commit by themselves, and their success does not say that they
// are on the standby: a cancelled wait is success with a WARNING. A row that was there
// before proves nothing either, because its writer's wait may have been cancelled. So
// Confirm sends a COMMIT of its own, which writes a message to the log that nobody
// reads, and believes it as it would believe one of money (see [Committer]). That
// COMMIT waits for everything before it. It runs on the same connection: another one
// may lead to a server that took over without the write.
//
// An error of work is returned as it is. With ErrUnavailable work was not called. With
// ErrNotConfirmed the write is done, unless its server is lost. ctx may be a caller's:
// Confirm only waits, and decides nothing.
func Confirm(ctx context.Context, pool *pgxpool.Pool, work func(*pgx.Conn) error) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("%w: connecting: %w", ErrUnavailable, err)
	}
	defer conn.Release() // the pool closes a connection that is not idle
	if err := work(conn.Conn()); err != nil {
		return err
	}
	if err := commitSafely(ctx, conn.Conn(), WaitForStandby); err != nil {
		return fmt.Errorf("%w: %w", ErrNotConfirmed, err)
	}
	return nil
}

// WaitForStandby is a statement that writes an empty message to the write-ahead log. It
// makes the COMMIT of a transaction that changes no row wait for the disk and the standby.
const WaitForStandby = `SELECT pg_logical_emit_message(true, 'paymentsvc.confirm', '')`

// NotDurable is a statement for transactions that a crash may lose. Their COMMIT does not
// wait for the disk, nor for a standby.
const NotDurable = `SELECT set_config('synchronous_commit', 'off', true)`

// commitSafely commits the statements in a transaction, and returns nil only if the
// COMMIT is believed, also of a standby.
func commitSafely(ctx context.Context, conn *pgx.Conn, statements ...string) error {
	tx := newTx(conn)
	tx.Statements().Queue(`SET LOCAL synchronous_commit = on`) // whatever the role says
	for _, sql := range statements {
		tx.Statements().Queue(sql)
	}
	return tx.Commit(ctx)
}
