package postgres

import (
	"context"
	"errors"
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
//   - Background work has a statement for each merchant (EachMerchant, ByMerchant), and on one
//     Postgres a statement for all.
//
// The text of the statements is the same in both modes. A statement that locks or changes
// rows names the merchant, and so does one with a LATERAL look-up. In a batch, that is the
// merchant that all rows share (unnest.Shared). A plain SELECT may search all merchants.
//
// Citus also has rules for an UPDATE or DELETE, alone or in a WITH. The statements follow
// them in both modes:
//   - It calls no volatile function: not clock_timestamp(), but statement_timestamp().
//   - In its RETURNING, CASE and COALESCE, and in ON CONFLICT, all functions are immutable.
//   - Its SET has no column in a call of a stable function, such as the sum of a time and an
//     interval. A subquery may have that if it has a lock, LIMIT or OFFSET: the planner
//     merges every other one with the UPDATE.
//   - It must not depend on a transaction id. Citus calls the functions of a statement that
//     writes on the coordinator, which has other ids than the server of the rows. A plain
//     SELECT and a trigger get the ids of that server.

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

// EachMerchant calls do for each merchant that the query finds, because Citus refuses a
// statement that locks rows of several merchants. On one Postgres it calls do once, with
// nil: all merchants. After an error it goes on with the next merchant.
//
// A statement of do takes the merchant as a parameter. It searches by
//
//	($1::bigint IS NULL OR t.merchant_id = $1)
//
// which is no condition at all, or one on a constant, before a plan is made. A row whose
// key is known is looked up as package unnest says.
func EachMerchant(
	ctx context.Context, db Querier, sharded bool, query string, args []any,
	do func(merchantID *int64) error,
) error {
	if !sharded {
		return do(nil)
	}
	rows, err := db.Query(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("looking for merchants: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return fmt.Errorf("looking for merchants: %w", err)
	}
	var errs []error
	for _, id := range found {
		if err := ctx.Err(); err != nil {
			errs = append(errs, err)
			break
		}
		if err := do(&id); err != nil {
			errs = append(errs, fmt.Errorf("merchant %d: %w", id, err))
		}
	}
	return errors.Join(errs...)
}

// ByMerchant splits rows into groups for a statement each: in sharded mode those of one
// merchant, and on one Postgres all.
func ByMerchant[Row any](sharded bool, rows []Row, merchant func(Row) int64) [][]Row {
	if !sharded {
		return [][]Row{rows}
	}
	var groups [][]Row
	groupOf := map[int64]int{}
	for _, row := range rows {
		id := merchant(row)
		at, known := groupOf[id]
		if !known {
			at = len(groups)
			groupOf[id] = at
			groups = append(groups, nil)
		}
		groups[at] = append(groups[at], row)
	}
	return groups
}
