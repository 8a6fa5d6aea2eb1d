// Package audit asks the database whether its books are in order.
//
// Each invariant is a view in the schema audit whose rows are violations, so an empty
// view is a kept promise. The views are the only definition there is: `paymentsvc
// audit`, the clean-up of every test and the torture run all read them through Run. See
// the migration that creates them for what each one says.
package audit

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Querier is a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Violation is one row of one view: a promise that the stored data breaks.
type Violation struct {
	Invariant  string // the view's name, for example "i2_balances_match_entries"
	Promise    string // the view's comment: what should have been true
	MerchantID int64
	Subject    string // what it is about, for example "payment 0192…" or "account shop"
	Detail     string // what is wrong with it
}

func (v Violation) String() string {
	return fmt.Sprintf("%s: merchant %d, %s: %s", v.Invariant, v.MerchantID, v.Subject, v.Detail)
}

// Run reads every invariant in one snapshot and returns the violations, at most limit
// of each invariant. No violation and no error means that the books are in order.
func Run(ctx context.Context, db Querier, limit int) ([]Violation, error) {
	rows, err := db.Query(ctx, `
		SELECT invariant, promise, merchant_id, subject, detail
		FROM audit.violations($1)`, limit)
	if err != nil {
		return nil, fmt.Errorf("auditing: %w", err)
	}
	violations, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Violation])
	if err != nil {
		return nil, fmt.Errorf("auditing: %w", err)
	}
	return violations, nil
}
