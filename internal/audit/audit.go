// Package audit checks the invariants of the stored data.
//
// Each invariant is a view in the schema audit. Its rows are violations. The migration
// that creates the views defines them and explains each one. `paymentsvc audit`, the
// clean-up of every test and the torture run all read them through Run.
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

// Violation is one row of one view.
type Violation struct {
	Invariant  string // the view's name, for example "i2_balances_match_entries"
	Promise    string // the view's comment: the invariant in words
	MerchantID int64
	Subject    string // for example "payment 0192…" or "account shop"
	Detail     string // the difference that was found
}

func (v Violation) String() string {
	return fmt.Sprintf("%s: merchant %d, %s: %s", v.Invariant, v.MerchantID, v.Subject, v.Detail)
}

// Run checks every invariant in one snapshot. It returns at most limit violations of
// each invariant.
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
