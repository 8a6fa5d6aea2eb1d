package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/app"
	"github.com/paymentsvc/paymentsvc/internal/cards"
	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/lab/natsserver"
	"github.com/paymentsvc/paymentsvc/lab/pgserver"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
	"github.com/paymentsvc/paymentsvc/migrations"
)

const (
	serverStopTimeout = 20 * time.Second
	natsPort          = 4222  // the usual one, if it is free
	processorPort     = 12111 // that of stripe-mock, if it is free
	// processorTimeout is short, because the processor is on this machine, and fails on
	// demand.
	processorTimeout = 3 * time.Second
)

// devCommand is paymentsvc dev: the service and its database on one machine, for
// trials and development. The database is a durable Postgres. With it come a card
// processor that moves no money, and a NATS server, if this machine has the program. They
// stop with this process and keep their data.
type devCommand struct {
	DatabaseURL string `help:"${dev_url}" env:"DATABASE_URL" placeholder:"URL"`
	DataDir     string `help:"${dev_dir}" env:"PAYMENTSVC_DATA_DIR" placeholder:"DIR"`

	PrintDatabaseURL bool `help:"${printurl}"`
	app.Settings
}

// Run serves until it is told to stop.
func (c *devCommand) Run(ctx context.Context, term terminal) (errRun error) {
	config, err := c.Parse()
	if err != nil {
		return err
	}
	config.ShutdownDelay = 0 // there is no load balancer to wait for
	config.WebhookAllowPrivate = true
	if c.PrintDatabaseURL {
		return printDatabaseURL(term, c.DataDir, c.DatabaseURL)
	}
	if err := checkScheme(c.DatabaseURL); err != nil {
		return err
	}
	logger := newDevLogger(term, config.LogLevel)
	url, keyFile := c.DatabaseURL, ""
	started := &servers{}
	if url == "" {
		servers, err := startServers(ctx, databaseOptions(c.DataDir, logger), &config)
		if err != nil {
			return err
		}
		defer func() { errRun = errors.Join(errRun, servers.stop()) }()
		url, keyFile = servers.database.URL(), filepath.Join(servers.database.DataDir(), "api-key")
		started = servers
	}
	if err := migrations.Up(ctx, url); err != nil {
		return err
	}
	in, err := app.Start(ctx, config, url, logger)
	if err != nil {
		return err
	}
	merchantID, apiKey, err := furnish(ctx, in, keyFile)
	if err == nil {
		err = started.sendEventsTo(ctx, in.URL())
	}
	if err != nil {
		in.Close()
		return fmt.Errorf("preparing the demo merchant: %w", err)
	}
	greet(term, in.URL(), merchantID, apiKey)
	greetCards(term, config.Processor)
	greetMessages(term, config.NATS.URL, merchantID)
	return in.Serve(ctx)
}

// databaseOptions are the options to start the private database, or to find it
// running.
func databaseOptions(dataDir string, logger *slog.Logger) pgserver.Options {
	return pgserver.Options{
		DataDir:    dataDir,
		Durable:    true,
		Parameters: map[string]string{"max_connections": "100"},
		Logger:     logger,
	}
}

func startDatabase(ctx context.Context, o pgserver.Options) (*pgserver.Server, error) {
	server, err := pgserver.Start(ctx, o)
	switch {
	case errors.Is(err, pgserver.ErrInUse), errors.Is(err, pgserver.ErrNotDirectory):
		return nil, fmt.Errorf("%w (--data-dir)", err)
	case err != nil:
		return nil, fmt.Errorf("starting a Postgres for dev (set DATABASE_URL to use another): %w",
			err)
	}
	return server, nil
}

// servers are those that dev starts for itself.
type servers struct {
	database  *pgserver.Server
	broker    *natsserver.Server // nil: this machine has none, or another is to be used
	processor *simulator.Process // nil: another is to be used
}

// startServers starts a database. Beside it, it starts a NATS server and a card processor,
// unless the configuration names others. Then it names them in the configuration.
func startServers(
	ctx context.Context, o pgserver.Options, config *app.Config,
) (*servers, error) {
	database, err := startDatabase(ctx, o)
	if err != nil {
		return nil, err
	}
	started := &servers{database: database}
	if config.NATS.URL == "" {
		err = started.startBroker(ctx, o.Logger, config)
	}
	if err == nil && config.Processor.SecretKey == "" {
		err = started.startProcessor(ctx, o.Logger, config)
	}
	if err != nil {
		return nil, errors.Join(err, started.stop())
	}
	return started, nil
}

// startBroker starts a NATS server, if this machine has one.
func (s *servers) startBroker(
	ctx context.Context, logger *slog.Logger, config *app.Config,
) (err error) {
	s.broker, err = natsserver.Start(ctx, natsserver.Options{
		Dir: filepath.Join(s.database.DataDir(), "nats"), PreferredPort: natsPort, Logger: logger,
	})
	switch {
	case errors.Is(err, natsserver.ErrNoProgram):
		s.broker = nil
		return nil
	case err != nil:
		return fmt.Errorf("starting a NATS server for dev (set NATS_URL to use another): %w", err)
	}
	config.NATS.URL = s.broker.URL()
	return nil
}

// startProcessor starts a card processor. Its books lie beside the database, because they
// belong together.
func (s *servers) startProcessor(
	ctx context.Context, logger *slog.Logger, config *app.Config,
) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	s.processor, err = simulator.Launch(ctx, simulator.LaunchOptions{
		Program: program, Dir: filepath.Join(s.database.DataDir(), "processor"),
		PreferredPort: processorPort, Logger: logger,
	})
	if err != nil {
		return fmt.Errorf("starting a card processor for dev (set STRIPE_SECRET_KEY to use "+
			"another): %w", err)
	}
	config.Processor.SecretKey = simulator.DefaultSecret
	config.Processor.URL = s.processor.URL()
	config.Processor.WebhookSecrets = []string{simulator.DefaultWebhookSecret}
	config.Processor.Timeout = processorTimeout
	return nil
}

// sendEventsTo has the processor send its events to the service at url.
func (s *servers) sendEventsTo(ctx context.Context, url string) error {
	if s.processor == nil {
		return nil
	}
	return s.processor.SetWebhookURL(ctx, url+"/processor-events/stripe")
}

// stop ends the servers in reverse order.
func (s *servers) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), serverStopTimeout)
	defer cancel()
	var errs []error
	if s.processor != nil {
		errs = append(errs, s.processor.Stop(ctx))
	}
	if s.broker != nil {
		errs = append(errs, s.broker.Stop(ctx))
	}
	return errors.Join(append(errs, s.database.Stop(ctx))...)
}

// printDatabaseURL prints the URL of the running dev's database, for psql.
func printDatabaseURL(term terminal, dataDir, given string) error {
	url := given
	if url == "" {
		var err error
		if url, err = pgserver.RunningURL(databaseOptions(dataDir, nil)); err != nil {
			return fmt.Errorf(
				"looking for a running dev (start it with `make run`, or set DATABASE_URL): %w",
				err,
			)
		}
	}
	_, err := fmt.Fprintln(term.out, url)
	return err
}

// The demo merchant's accounts: money comes from world, and alice spends it at shop.
const (
	demoMerchant    = "demo"
	demoCurrency    = "USD"
	demoAllowance   = 1_000_000_00 // cents
	demoFundingKey  = "demo-funding"
	demoFundingFrom = "world"
)

// furnish creates the demo merchant, its API key and its accounts, unless an earlier
// dev did. The accounts are upserts. Alice's allowance is a charge under a fixed key,
// so it is paid once, however often dev starts.
func furnish(
	ctx context.Context, in *app.Instance, keyFile string,
) (merchantID int64, apiKey string, err error) {
	merchantID, apiKey, err = demoKey(ctx, in.Pools.General, keyFile)
	if err != nil {
		return 0, "", err
	}
	if err := putDemoAccounts(ctx, in.Accounts, merchantID); err != nil {
		return 0, "", err
	}
	key := idempotency.Key{
		MerchantID: merchantID, Scope: idempotency.ScopeClient, Value: demoFundingKey,
	}
	caller := payments.Caller{Key: key, RequestID: uuid.Must(uuid.NewV7())}
	_, err = in.Payments.Charge(ctx, caller, payments.Charge{
		Amount:             ledger.Money{Minor: demoAllowance, Currency: demoCurrency},
		SourceAccount:      demoFundingFrom,
		DestinationAccount: "alice",
		Description:        "alice's allowance",
	})
	var refusal *payments.Refusal
	if errors.As(err, &refusal) && refusal.Code == payments.CodeKeyExpired {
		return merchantID, apiKey, nil // paid long ago
	}
	return merchantID, apiKey, err
}

// demoKey is the API key in the file, from an earlier start, as long as it is valid.
// Else it is a new one, which is written to the file. Without a file, which only a
// database of dev's own has, each start makes a new key.
func demoKey(
	ctx context.Context, pool *pgxpool.Pool, file string,
) (merchantID int64, apiKey string, err error) {
	if kept, err := os.ReadFile(file); err == nil {
		apiKey = strings.TrimSpace(string(kept))
		identity, err := merchants.NewAuthenticator(pool).Authenticate(ctx, apiKey)
		if !errors.Is(err, merchants.ErrUnauthorized) {
			return identity.MerchantID, apiKey, err
		}
	}
	merchantID, apiKey, err = merchants.CreateNamedOnce(ctx, pool, demoMerchant)
	if err == nil && file != "" {
		err = os.WriteFile(file, []byte(apiKey+"\n"), 0o600)
	}
	return merchantID, apiKey, err
}

func putDemoAccounts(ctx context.Context, accounts *ledger.Accounts, merchantID int64) error {
	var zero int64
	limits := map[string]*int64{demoFundingFrom: nil, "alice": &zero, "bob": &zero, "shop": &zero}
	for id, limit := range limits {
		ref := ledger.Ref{MerchantID: merchantID, AccountID: id}
		terms := ledger.Terms{
			Currency: demoCurrency, OverdraftLimit: limit, Metadata: map[string]string{},
		}
		if _, _, err := accounts.Put(ctx, ref, terms, ledger.Unconditional); err != nil {
			return err
		}
	}
	return nil
}

// demoCurl is a shell command that charges once, however often it runs.
func demoCurl(url, apiKey, key string) string {
	return strings.Join([]string{
		"curl -i " + url + "/payments",
		"-H 'Authorization: Bearer " + apiKey + "'",
		"-H 'Idempotency-Key: " + key + "'",
		"-H 'Content-Type: application/json'",
		`-d '{"amount":4999,"currency":"USD",` +
			`"source_account":"alice","destination_account":"shop"}'`,
	}, " ")
}

// newDevLogger logs text on a terminal, for people, and JSON elsewhere.
func newDevLogger(term terminal, level slog.Level) *slog.Logger {
	if file, ok := term.err.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return slog.New(slog.NewTextHandler(file, &slog.HandlerOptions{Level: level}))
		}
	}
	return newLogger(term, level)
}

func greet(term terminal, url string, merchantID int64, apiKey string) {
	_, _ = fmt.Fprintf(term.out, `
paymentsvc is serving at %[1]s
API key: %[2]s
Merchant: %[4]d
In a browser: %[1]s/console
Webhooks may go to this machine and to private networks, which serve refuses.

Charge once, then send the very same line again: the same payment, and Idempotent-Replayed: true.

%[3]s

`, url, apiKey, demoCurl(url, apiKey, newDemoKey()), merchantID)
}

func newDemoKey() string { return "order-" + strings.ToLower(rand.Text()[:8]) }

// greetCards says how to charge a card.
func greetCards(term terminal, processor cards.Settings) {
	if processor.SecretKey == "" {
		_, _ = fmt.Fprint(term.out, "Cards cannot be charged: STRIPE_SECRET_KEY is not set\n\n")
		return
	}
	_, _ = fmt.Fprintf(term.out, `Cards: %s. In the line above, write
"payment_method":"pm_card_visa" for "source_account":"alice", and another key.

`, cmp.Or(processor.URL, "Stripe"))
}

// greetMessages says how to charge by message, or why that is not possible.
func greetMessages(term terminal, natsURL string, merchantID int64) {
	if natsURL == "" {
		reason := "NATS_URL is not set"
		if _, err := natsserver.Find(); err != nil {
			reason = err.Error()
		}
		_, _ = fmt.Fprintf(term.out, "There are no messages: %s\n\n", reason)
		return
	}
	_, _ = fmt.Fprintf(term.out, `Messages: %s
Charge by a message. Sent again, it makes no second payment:

%s publish --nats-url %[1]s --merchant %[3]d --key %[4]s \
  --amount 4999 --currency USD --from alice --to shop

`, natsURL, os.Args[0], merchantID, newDemoKey())
}
