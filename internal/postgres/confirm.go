package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Confirm calls work with a connection of the pool, and returns nil only when all that work wrote and read there is as safe as a COMMIT
// promises, on a synchronous standby too. It is for what is no money transaction and yet is acknowledged.
//
// The statements of work commit by themselves, and success does not say that they waited: a cancelled wait for a standby is success with
// a WARNING. Nor does a row that is there already: it can be read although the wait of whoever wrote it was cancelled. So a COMMIT
// follows that is believed as one of money is (see [Committer]). It waits for all before it, if it wrote something: here a message that
// nobody reads. It is on the same connection, because another one may lead to another server, which has taken over without what work saw.
//
// An error of work is returned as it is; it acknowledges nothing, and waits for nothing. With ErrUnavailable work was not called. With
// ErrOutcomeUnknown it is done, unless its server is lost. ctx may be a caller's: the COMMIT decides nothing, it is only waited for.
func Confirm(ctx context.Context, pool *pgxpool.Pool, work func(*pgx.Conn) error) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("%w: connecting: %w", ErrUnavailable, err)
	}
	defer conn.Release() // the pool closes a connection that is not idle
	if err := work(conn.Conn()); err != nil {
		return err
	}
	tx := &Tx{conn: conn.Conn()}
	err = tx.Commit(ctx, func(q *pgx.Batch) {
		q.Queue(`SET LOCAL synchronous_commit = on`) // as for money, whatever the role or the database says
		q.Queue(`SELECT pg_logical_emit_message(true, 'paymentsvc.confirm', '')`)
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	return nil
}
