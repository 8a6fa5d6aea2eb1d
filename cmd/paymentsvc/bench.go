package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/paymentsvc/paymentsvc/lab/bench"
)

// benchCommand is paymentsvc bench: the rate of charges, and the cost of one.
type benchCommand struct {
	bench.Config
	Out string `help:"Write bench.txt, bench.json and bench.svg to this directory."`
}

// Help follows the summary in `paymentsvc bench --help`.
func (*benchCommand) Help() string {
	return "Ratios are to pgbench with the first number of --clients, and with the best. " +
		"The directory of the database should be on a disk, with some gigabytes free."
}

// Run measures, and prints the report.
func (c *benchCommand) Run(ctx context.Context, term terminal) error {
	report, err := bench.Run(ctx, c.Config, bench.NewProgress(term.err))
	switch {
	case err != nil && ctx.Err() != nil:
		err = errors.New("the benchmark was interrupted")
	case err != nil:
		err = fmt.Errorf("benchmark: %w", err)
	}
	if report == nil {
		return err
	}
	if c.Out != "" {
		err = errors.Join(err, report.WriteFiles(c.Out))
	}
	return errors.Join(err, report.WriteText(term.out))
}
