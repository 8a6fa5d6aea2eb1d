// Command paymentsvc is the payment service: the API, and the commands to operate it.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/paymentsvc/paymentsvc/client"
	"github.com/paymentsvc/paymentsvc/internal/app"
	"github.com/paymentsvc/paymentsvc/internal/cards"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
	"github.com/paymentsvc/paymentsvc/migrations"
)

// commands are the command line, as kong reads it.
type commands struct {
	Version kong.VersionFlag `help:"Print the version, the commit and the schema's version."`

	Serve       serveCommand       `cmd:"" help:"Migrate the database and serve the API."`
	Dev         devCommand         `cmd:"" help:"${dev}"`
	Migrate     migrateCommand     `cmd:"" help:"Migrate the database's schema."`
	Merchants   merchantsCommand   `cmd:"" help:"Manage merchants."`
	Keys        keysCommand        `cmd:"" help:"Manage the API keys of a merchant."`
	Payments    paymentsCommand    `cmd:"" help:"Look at payments."`
	Events      eventsCommand      `cmd:"" help:"Read the events of a merchant."`
	Charge      chargeCommand      `cmd:"" help:"Charge once through the API, with retries."`
	Publish     publishCommand     `cmd:"" help:"${publish}"`
	Audit       auditCommand       `cmd:"" help:"${audit}"`
	Reconcile   reconcileCommand   `cmd:"" help:"${reconcile}"`
	Attempts    attemptsCommand    `cmd:"" help:"${attempts}"`
	Bench       benchCommand       `cmd:"" help:"${bench}"`
	Healthcheck healthcheckCommand `cmd:"" help:"${healthcheck}"`

	SimulateProcessor simulateCommand `cmd:"" help:"${simulate}"`
}

// help are the texts that are too long for a struct tag.
var help = kong.Vars{
	"dev":     "Serve the API on this machine, with its own Postgres and a demo merchant.",
	"publish": "Charge once by a message to NATS, and wait for the answer.",
	"audit":   "Check every invariant of the books; exit 1 if one is violated.",
	"bench":   "Measure charges per second, beside pgbench doing the same writes.",
	"healthcheck": "Ask the instance in this container whether it is ready; " +
		"exit 1 if it is not.",

	"reconcile": "Compare the card processor's books with ours, both ways; exit 1 if they differ.",
	"since":     "From this time on: RFC 3339, or how long ago.",
	"until":     "Up to this time.",
	"reach":     cards.DefaultReach.String(),
	"attempts":  "Look at unfinished calls to the card processor, and decide them.",

	"attempts_list": "List attempts that are open or in review, oldest first.",
	"attempts_show": "Print an attempt, and what the processor says of it.",
	"attempts_resolve": "Decide an attempt that waits for a person. The processor has the last " +
		"word.",
	"resolve_retry": "Work on it again, at once.",
	"resolve_declined": "Of a charge: cancel it at the processor, and decline it. If the " +
		"processor has charged it, it is settled so.",
	"resolve_captured": "Of a capture, cancellation or expiry: the payment becomes what was " +
		"captured at the processor's dashboard.",
	"resolve_refunded": "Of a refund: it was made at the processor, perhaps by a person.",
	"resolve_not":      "Of a refund: the processor has not made it, and will not.",

	"migrate_down": "Revert the last N migrations. " +
		"Data that only their tables and columns hold is lost.",
	"migrate_force": "Record N as the schema's version and run nothing, after a change of the " +
		"schema by hand. An interrupted migration does not need it.",
	"keys_create": "Create another API key for a merchant and print it. It is shown only once.",
	"keys_list":   "List a merchant's API keys, including revoked ones, without their secrets.",
	"merchant":    "Create a merchant and print its API key, which is shown only once.",

	"payments_show": "Print what happened to a payment, in the order of time: its keys, " +
		"shortened, its entries, events and answers.",

	"events_tail": "Print a merchant's events through the API, one JSON line each, and wait for " +
		"more.",
	"events_start": "Begin at the oldest event that is kept.",

	"owner": "The schema owner's login to the same database, for migrations only. " +
		"(default: the database URL)",
	"db":       "Postgres connection URL of the schema's owner.",
	"dev_url":  "Use this database and start none.",
	"dev_dir":  "Data directory of the database that dev starts.",
	"printurl": "Print the database URL of the running dev, for psql, and exit.",

	"url": "Address of the service.",
	"key": "Idempotency key of an earlier try, to continue it. " +
		"Without this flag a new key is made and printed.",
	"reference": "Name of the purchase. Only one payment can have it, whatever its key.",

	"pub_merchant": "Id of the merchant, as in the subject of its messages.",
	"pub_url":      "Address of the NATS server.",

	"simulate":    "Run a card processor for dev and tests. It speaks Stripe's wire format.",
	"sim_listen":  "Address to listen on.",
	"sim_at":      simulator.DefaultListen,
	"sim_books":   "File of its books. It is made if it is missing.",
	"sim_caller":  "API key that callers must send.",
	"sim_key":     simulator.DefaultSecret,
	"sim_webhook": "Address that events are sent to. Without it they wait.",
	"sim_sign":    "Secret that signs the events.",
	"sim_whsec":   simulator.DefaultWebhookSecret,
	"sim_api":     "API version of the events. An SDK refuses those of another release.",
	"sim_version": simulator.DefaultAPIVersion,
	"sim_window":  "How long an idempotency key and its answer are kept.",
	"sim_log":     "debug, info, warn or error.",

	"probed": "Address where the instance listens. " +
		"A wildcard address is asked through the loopback interface.",
	"tls": "If set, the instance speaks TLS. The file is not read.",
}

// terminal is where a command writes.
type terminal struct {
	out io.Writer // results, for people and programs
	err io.Writer // logs and errors
}

func main() {
	ctx, stop := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-signals
		stop() // the command finishes its work
		<-signals
		fmt.Fprintln(os.Stderr, "paymentsvc: a second signal: ended at once")
		os.Exit(exitInterrupted)
	}()
	os.Exit(run(ctx, os.Args[1:], terminal{out: os.Stdout, err: os.Stderr}))
}

// exitInterrupted is the exit code of a shell's command that Ctrl-C has ended.
const exitInterrupted = 130

// errFound makes a command fail without a message: the command has printed its findings.
var errFound = errors.New("violations were found")

// run parses args and runs the command. It returns the exit code: 0, 1 if the command
// failed, 2 if its arguments were wrong, 3 if the outcome of a charge is unknown.
func run(ctx context.Context, args []string, term terminal) int {
	var cli commands
	exited := -1
	parser, err := kong.New(&cli,
		kong.Name("paymentsvc"),
		kong.Description("A payment service that charges exactly once."),
		help, kong.Vars(app.Help), kong.Vars{"version": versionText()},
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

// version is the version of the contract too.
const version = "0.1.0"

// commit is set by the linker, in `make build` and for the image.
var commit string

func versionText() string {
	dirty := ""
	if info, ok := debug.ReadBuildInfo(); ok && commit == "" {
		for _, setting := range info.Settings {
			switch {
			case setting.Key == "vcs.revision":
				commit = setting.Value
			case setting.Key == "vcs.modified" && setting.Value == "true":
				dirty = "-dirty"
			}
		}
	}
	return fmt.Sprintf("paymentsvc %s, commit %s%s, schema %d", version,
		cmp.Or(commit, "unknown"), dirty, migrations.Latest)
}

func newLogger(term terminal, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(term.err, &slog.HandlerOptions{Level: level}))
}
