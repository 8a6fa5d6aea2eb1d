package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// simulateCommand is paymentsvc simulate-processor: a card processor without cards.
type simulateCommand struct {
	Listen        string `help:"${sim_listen}" env:"SIMULATOR_LISTEN" default:"${sim_at}"`
	Books         string `help:"${sim_books}" env:"SIMULATOR_BOOKS" default:"simulator.db"`
	Secret        string `help:"${sim_caller}" env:"SIMULATOR_SECRET" default:"${sim_key}"`
	WebhookURL    string `help:"${sim_webhook}" env:"SIMULATOR_WEBHOOK_URL" placeholder:"URL"`
	WebhookSecret string `help:"${sim_sign}" env:"SIMULATOR_WEBHOOK_SECRET" default:"${sim_whsec}"`
	APIVersion    string `help:"${sim_api}" env:"SIMULATOR_API_VERSION" default:"${sim_version}"`

	KeyWindow time.Duration `help:"${sim_window}" env:"SIMULATOR_KEY_WINDOW" default:"24h"`
	LogLevel  slog.Level    `help:"${sim_log}" env:"SIMULATOR_LOG_LEVEL" default:"info"`
}

// Help is the long part of --help.
func (c *simulateCommand) Help() string {
	return `It speaks the part of Stripe's API that the service uses, at http://LISTEN. No money
moves. Its books survive a restart.

The payment method decides the outcome: pm_card_visa and Stripe's other test names, and
for faults pm_sim_timeout_then_success, pm_sim_500_after_charge and others of
lab/simulator/cards.go.

  GET  /books             every payment, and how often its money was taken
  GET  /faults            what goes wrong; POST replaces it
  POST /webhook           {"url": …} replaces --webhook-url
  POST /dashboard/refunds {"payment_intent": …, "amount": …, "reason": …}
  POST /dashboard/captures, /dashboard/cancels, /dashboard/disputes

These pages need no secret, so listen only where nobody else can connect.`
}

// Run serves until it is told to stop.
func (c *simulateCommand) Run(ctx context.Context, term terminal) error {
	server, err := simulator.Start(ctx, simulator.Options{
		Listen: c.Listen, BooksFile: c.Books, Secret: c.Secret, WebhookURL: c.WebhookURL,
		WebhookSecret: c.WebhookSecret, APIVersion: c.APIVersion, KeyWindow: c.KeyWindow,
		Logger: newLogger(term, c.LogLevel),
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return server.Close()
}
