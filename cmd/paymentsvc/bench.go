package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/bench"
)

// benchCommand is paymentsvc bench: how many charges a second, and what each costs.
type benchCommand struct {
	Seconds     float64 `help:"How long each measurement takes." default:"5"`
	WarmUp      float64 `help:"Seconds before each that do not count." default:"1"`
	Rounds      int     `help:"How often everything is measured; the report has the medians." default:"3"`
	Accounts    int     `help:"Accounts that charges move money between." default:"10000"`
	Connections []int   `help:"Connections to the service." default:"64,256"`
	Clients     []int   `help:"Clients of pgbench; ratios are taken to the first number, and to the best." default:"64,16"`
	Prices      bool    `help:"Also measure what each guarantee costs: keys, events, triggers, durability."`
	Onefile     string  `help:"The program of examples/onefile, to measure it too." placeholder:"PATH"`
	Out         string  `help:"Write bench.txt, bench.json and bench.svg to this directory." placeholder:"DIR"`
	Commit      string  `help:"What to call this build in the report. (default: the commit that it was built from)" placeholder:"NAME"`
	Scratch     string  `help:"Where the database lies meanwhile: on a disk, with some gigabytes free. (default: the directory of temporary files)" placeholder:"DIR"`
}

// Run measures, and prints the report.
func (c *benchCommand) Run(ctx context.Context, term terminal) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program, to start it again: %w", err)
	}
	report, err := bench.Run(ctx, bench.Config{
		Program:     program,
		Onefile:     c.Onefile,
		Accounts:    c.Accounts,
		Rounds:      c.Rounds,
		Connections: c.Connections,
		Clients:     c.Clients,
		Duration:    seconds(c.Seconds),
		WarmUp:      seconds(c.WarmUp),
		Prices:      c.Prices,
		Scratch:     c.Scratch,
		Commit:      c.Commit,
	}, bench.NewProgress(term.err))
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

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// benchLoadCommand is the load generator, which bench starts as a process of its own.
type benchLoadCommand struct{}

// Run reads what to do from standard input.
func (*benchLoadCommand) Run(ctx context.Context, term terminal) error {
	return bench.Generate(ctx, os.Stdin, term.out)
}
