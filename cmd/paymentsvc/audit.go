package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/audit"
)

// auditCommand is paymentsvc audit.
type auditCommand struct {
	databaseFlags
	Limit int `help:"Most violations to print for each invariant." default:"100"`
}

// Validate refuses a limit that would hide every violation.
func (c *auditCommand) Validate() error {
	if c.Limit < 1 {
		return errors.New("--limit must be at least 1")
	}
	return nil
}

// Run checks every invariant and prints the violations.
func (c *auditCommand) Run(ctx context.Context, term terminal) error {
	var violations []audit.Violation
	err := c.withPool(ctx, func(pool *pgxpool.Pool) (err error) {
		// An audit reads all rows. The pool has one connection, so this SET applies.
		if _, err := pool.Exec(ctx, `SET statement_timeout = 0`); err != nil {
			return err
		}
		violations, err = audit.Run(ctx, pool, c.Limit)
		return err
	})
	if err != nil {
		return err
	}
	if len(violations) == 0 {
		_, err := fmt.Fprintln(term.out, "the books are in order")
		return err
	}
	table := tabwriter.NewWriter(term.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "INVARIANT\tMERCHANT\tSUBJECT\tDETAIL")
	for _, v := range violations {
		_, _ = fmt.Fprintf(table, "%s\t%d\t%s\t%s\n", v.Invariant, v.MerchantID, v.Subject,
			v.Detail)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return errFound
}
