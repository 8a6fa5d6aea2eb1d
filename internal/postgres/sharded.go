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
//
// The statements are the same in both modes. Each one names the merchant: those of a batch
// the one that all rows share (unnest.Shared), and those of a background worker the one
// that it works for (EachMerchant, ByMerchant). For the sake of Citus, they also keep four
// rules in both modes:
//   - An UPDATE or DELETE calls no volatile function: not clock_timestamp(), but
//     statement_timestamp().
//   - RETURNING, CASE, COALESCE and ON CONFLICT have immutable functions only.
//   - An UPDATE makes no new value of a column and a stable function, such as the sum of a
//     time and an interval. A subquery may, if it has a lock, LIMIT or OFFSET: the planner
//     merges every other one with the UPDATE.
//   - A function is called where the rows are in a SELECT, and on the coordinator in a
//     statement that changes rows. So only a SELECT or a trigger asks for transaction ids.

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

// EachMerchant calls do once with nil, which stands for all merchants. In sharded mode it
// calls do for each merchant that the query finds: Citus cannot lock or join rows of
// several merchants in one statement, but it can search all. An error does not keep other
// merchants from their turn.
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
		if ctx.Err() != nil {
			break
		}
		errs = append(errs, do(&id))
	}
	return errors.Join(errs...)
}

// ByMerchant splits rows into those that one statement may have: all, or in sharded mode
// those of one merchant.
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
