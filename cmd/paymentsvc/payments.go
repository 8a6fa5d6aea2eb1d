package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/story"
)

// paymentsCommand is paymentsvc payments.
type paymentsCommand struct {
	Show paymentsShowCommand `cmd:"" help:"${payments_show}"`
}

type paymentsShowCommand struct {
	databaseFlags
	ID string `arg:"" help:"Id of a payment or of a request." placeholder:"PAYMENT_OR_REQUEST_ID"`
}

// Run prints the story of the payment.
func (c *paymentsShowCommand) Run(ctx context.Context, term terminal) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		told, err := story.Read(ctx, pool, c.ID)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(term.out, "%s of merchant %d is %s\n",
			payments.FormatID(told.PaymentID), told.MerchantID, told.Summary)
		table := tabwriter.NewWriter(term.out, 0, 0, 2, ' ', 0)
		for _, line := range told.Lines {
			_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", formatTime(line.At), line.Kind, line.Text)
		}
		return table.Flush()
	})
}
