package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/paymentsvc/paymentsvc/internal/audit"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// auditCommand is paymentsvc audit.
type auditCommand struct {
	databaseFlags
	Limit int `help:"Most violations to print of each invariant." default:"100"`
}

// Run reads every invariant and prints what violates it.
func (c *auditCommand) Run(ctx context.Context, term terminal) error {
	if err := c.check(); err != nil {
		return err
	}
	pools, err := postgres.Open(ctx,
		postgres.Options{URL: c.DatabaseURL, GeneralSize: 1, MoneySize: 1})
	if err != nil {
		return err
	}
	defer pools.Close()
	// The pool has this one connection, and an audit reads everything.
	if _, err := pools.General.Exec(ctx, `SET statement_timeout = 0`); err != nil {
		return err
	}
	violations, err := audit.Run(ctx, pools.General, c.Limit)
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
