package main

import (
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
	config.WebhookAllowPrivate = true
	if c.PrintDatabaseURL {
		return printDatabaseURL(term, c.DataDir, c.DatabaseURL)
	}
	if err := checkScheme(c.DatabaseURL); err != nil {
		return err
	}
	logger := newDevLogger(term, config.LogLevel)
	url, keyFile := c.DatabaseURL, ""
	if url == "" {
		var server *pgserver.Server
		if server, err = startDatabase(ctx, databaseOptions(c.DataDir, logger)); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stopDatabase(server)) }()
		url, keyFile = server.URL(), filepath.Join(server.DataDir(), "api-key")
	}
	if err := migrations.Up(ctx, url); err != nil {
		return err
	}
	in, err := app.Start(ctx, config, url, logger)
	if err != nil {
		return err
	}
	apiKey, err := furnish(ctx, in, keyFile)
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

// furnish creates the demo merchant, its API key and its accounts, unless an earlier dev
// did. The accounts are upserts. Alice's allowance is a charge under a fixed key, so it is
// paid once, however often dev starts.
func furnish(ctx context.Context, in *app.Instance, keyFile string) (apiKey string, err error) {
	merchantID, apiKey, err := demoKey(ctx, in.Pools.General, keyFile)
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

// demoKey is the API key in the file, from an earlier start, as long as it is valid. Else
// it is a new one, which is written to the file. Without a file, which only a database of
// dev's own has, each start makes a new key.
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

func greet(term terminal, url, apiKey string) {
	_, _ = fmt.Fprintf(term.out, `
paymentsvc is serving at %[1]s
API key: %[2]s
In a browser: %[1]s/console
Webhooks may go to this machine and to private networks, which serve refuses.

Charge once, then send the very same line again: the same payment, and Idempotent-Replayed: true.

%[3]s

`, url, apiKey, demoCurl(url, apiKey, "order-"+strings.ToLower(rand.Text()[:8])))
}
