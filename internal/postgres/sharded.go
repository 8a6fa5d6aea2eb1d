package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Sharded mode is for a cluster of Citus, an extension that distributes tables over many
// servers. The tables are distributed by merchant, so all rows of a merchant are on one
// server, and a charge is a local transaction there. docs/scale.md says what that promises.
//
// The mode is on if the database has the extension. These are all the differences:
//   - The schema has two triggers fewer and one more (migrations/sharded.sql), and
//     migrations/citus.sql distributes the tables.
//   - A money transaction has operations of one merchant: no statement can lock rows of two
//     (Lane in payments.New, package groupcommit).
//   - A plan is made for the values of a statement, because they decide which server it is
//     for (planForValues, below).
//   - What was never run on such a cluster is off (app/sharded.go).
//
// The statements are the same in both modes. Those of a batch name the merchant that all of
// its rows share (unnest.Shared). The reaper of answers, the retention of events and the
// look at busy rows have a statement for each merchant. Webhooks, messages and the recovery
// of card payments still change rows of several merchants in one statement. A function in a
// SELECT is called where the rows are, and in a statement that changes rows, on the
// coordinator. So only a SELECT asks which transactions of the rows' server still run.

// IsSharded tells whether the database is in sharded mode.
func IsSharded(ctx context.Context, db Querier) (sharded bool, err error) {
	if err := db.QueryRow(ctx, `SELECT is_sharded()`).Scan(&sharded); err != nil {
		return false, fmt.Errorf("asking whether the database is sharded: %w", err)
	}
	return sharded, nil
}

// planForValues undoes the pinned plans of a money session in sharded mode. With them
// Citus fails: "could not create distributed plan".
func planForValues(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, `SELECT set_config('plan_cache_mode', 'auto', false) WHERE is_sharded()`)
	if err != nil {
		return fmt.Errorf("choosing how statements are planned: %w", err)
	}
	return nil
}
