package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/app"
)

// processorFlags are for commands that ask the card processor. They have the names that
// serve has.
type processorFlags struct {
	databaseFlags
	app.ProcessorSettings
	AllowDataLoss bool `help:"${dataloss}" env:"ALLOW_DATA_LOSS"`
}

// withCards runs a command on an instance that serves nothing. authorizedFor is for
// commands that may settle an authorization.
func (f processorFlags) withCards(
	ctx context.Context, term terminal, authorizedFor time.Duration,
	run func(*app.Instance) error,
) error {
	settings, err := f.Parse()
	if f.StripeSecretKey == "" {
		err = errors.Join(err,
			errors.New("STRIPE_SECRET_KEY (or --stripe-secret-key) is required"))
	}
	if err := errors.Join(f.check(), err); err != nil {
		return err
	}
	in, err := app.New(ctx, app.Config{
		Retention:             authorizedFor, // of the answers that this instance replays: none
		AuthorizationLifetime: authorizedFor,
		Workers:               1,
		BatchSizeMax:          1,
		QueueSizeMax:          1,
		ReadConnections:       2,
		Processor:             settings,
		AllowDataLoss:         f.AllowDataLoss,
		ShardedUntried:        true, // a person has asked for it
	}, f.DatabaseURL, newLogger(term, slog.LevelError))
	if err != nil {
		return err
	}
	defer in.Close()
	return run(in)
}
