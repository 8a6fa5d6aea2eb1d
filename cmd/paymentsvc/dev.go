package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/app"
	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/lab/pgserver"
	"github.com/paymentsvc/paymentsvc/migrations"
)

const databaseStopTimeout = 20 * time.Second

// devCommand is paymentsvc dev: the service and its database on one machine, for trials
// and development. The database is a durable Postgres. It stops with this process and
// keeps its data.
type devCommand struct {
	DatabaseURL string `help:"${dev_url}" env:"DATABASE_URL" placeholder:"URL"`
	DataDir     string `help:"${dev_dir}" env:"PAYMENTSVC_DATA_DIR" placeholder:"DIR"`

	PrintDatabaseURL bool `help:"${printurl}"`
	app.Settings
}

// Run serves until it is told to stop.
func (c *devCommand) Run(ctx context.Context, term terminal) (err error) {
	config, err := c.Parse()
	if err != nil {
		return err
	}
	config.ShutdownDelay = 0 // there is no load balancer to wait for
	if c.PrintDatabaseURL {
		return printDatabaseURL(term, c.DataDir, c.DatabaseURL)
	}
	logger := newLogger(term, config.LogLevel)
	url := c.DatabaseURL
	if url == "" {
		var server *pgserver.Server
		if server, err = pgserver.Start(ctx, databaseOptions(c.DataDir, logger)); err != nil {
			return fmt.Errorf("starting a Postgres for dev (set DATABASE_URL to use another): %w",
				err)
		}
		defer func() { err = errors.Join(err, stopDatabase(server)) }()
		url = server.URL()
	}
	if err := migrations.Up(ctx, url); err != nil {
		return err
	}
	in, err := app.Start(ctx, config, url, logger)
	if err != nil {
		return err
	}
	apiKey, err := furnish(ctx, in)
	if err != nil {
		in.Close()
		return fmt.Errorf("preparing the demo merchant: %w", err)
	}
	greet(term, in.URL(), apiKey)
	return in.Serve(ctx)
}

// databaseOptions are the options to start the private database, or to find it running.
func databaseOptions(dataDir string, logger *slog.Logger) pgserver.Options {
	return pgserver.Options{
		DataDir:    dataDir,
		Durable:    true,
		Parameters: map[string]string{"max_connections": "100"},
		Logger:     logger,
	}
}

func stopDatabase(server *pgserver.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), databaseStopTimeout)
	defer cancel()
	return server.Stop(ctx)
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

// furnish creates the demo merchant and its accounts, unless an earlier dev did, and a
// new API key. The accounts are upserts. Alice's allowance is a charge under a fixed
// key, so it is paid once, however often dev starts.
func furnish(ctx context.Context, in *app.Instance) (apiKey string, err error) {
	merchantID, apiKey, err := merchants.CreateNamedOnce(ctx, in.Pools.General, demoMerchant)
	if err != nil {
		return "", err
	}
	if err := putDemoAccounts(ctx, in.Accounts, merchantID); err != nil {
		return "", err
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
		return apiKey, nil // paid long ago
	}
	return apiKey, err
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

func greet(term terminal, url, apiKey string) {
	_, _ = fmt.Fprintf(term.out, `
paymentsvc is serving at %[1]s
API key: %[2]s
In a browser: %[1]s/console

Charge once, then send the very same line again: the same payment, and Idempotent-Replayed: true.

%[3]s

`, url, apiKey, demoCurl(url, apiKey, "order-"+strings.ToLower(rand.Text()[:8])))
}
