// Command paymentsvc is the payment service: the API, and what is needed to run it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/paymentsvc/paymentsvc/client"
)

// commands are the command line, as kong reads it.
type commands struct {
	Serve     serveCommand     `cmd:"" help:"Serve the API. Needs a database, and migrates it unless told not to."`
	Dev       devCommand       `cmd:"" help:"Serve the API on this machine, with a Postgres of its own and a merchant to try it with."`
	Migrate   migrateCommand   `cmd:"" help:"Move the database's schema."`
	Merchants merchantsCommand `cmd:"" help:"Manage merchants."`
	Keys      keysCommand      `cmd:"" help:"Manage the API keys of a merchant."`
	Charge    chargeCommand    `cmd:"" help:"Charge once, through the API, and retry as often as it takes."`
	Audit     auditCommand     `cmd:"" help:"Check every invariant of the books; exit 1 if one is violated."`
	Bench     benchCommand     `cmd:"" help:"Measure charges a second, beside pgbench doing the same writes."`

	Healthcheck healthcheckCommand `cmd:"" help:"Ask the instance beside this command whether it is ready; exit 1 if not. For containers."`
}

// terminal is what a command may write to.
type terminal struct {
	out io.Writer // results, for people and programs
	err io.Writer // logs and complaints
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM,
		syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	os.Exit(run(ctx, os.Args[1:], terminal{out: os.Stdout, err: os.Stderr}))
}

// errFound makes a command fail without a message of its own: it has said already what
// it found.
var errFound = errors.New("found what should not be there")

// run parses args, runs the command, and returns the exit code: 0, 1 if the command
// failed, 2 if it was called wrongly, 3 if nobody knows whether it has charged.
func run(ctx context.Context, args []string, term terminal) int {
	var cli commands
	exited := -1
	parser, err := kong.New(&cli,
		kong.Name("paymentsvc"),
		kong.Description("A payment service that charges exactly once."),
		kong.Writers(term.out, term.err),
		kong.Exit(func(code int) { exited = code }), // --help ends here
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(term, &cli),
	)
	if err != nil {
		panic(err) // the structs above are wrong
	}
	command, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		_, _ = fmt.Fprintf(term.err, "paymentsvc: %v\nTry paymentsvc --help.\n", err)
		return 2
	}
	switch err := command.Run(); {
	case errors.Is(err, errFound):
		return 1
	case errors.Is(err, client.ErrUnknownOutcome):
		_, _ = fmt.Fprintf(term.err, "paymentsvc: %v\n", err)
		return 3
	case err != nil:
		_, _ = fmt.Fprintf(term.err, "paymentsvc: %v\n", err)
		return 1
	}
	return 0
}

func newLogger(term terminal, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(term.err, &slog.HandlerOptions{Level: level}))
}
