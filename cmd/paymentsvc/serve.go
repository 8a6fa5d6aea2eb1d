package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/app"
	"github.com/paymentsvc/paymentsvc/migrations"
)

// A database may still be starting. Migration waits for it this long.
const (
	migrateWait          = 10 * time.Second
	migrateRetryInterval = 500 * time.Millisecond
)

// serveCommand is paymentsvc serve.
type serveCommand struct {
	databaseFlags
	MigrateDatabaseURL string `help:"${owner}" env:"MIGRATE_DATABASE_URL" placeholder:"URL"`
	NoMigrate          bool   `help:"Leave the schema as it is." env:"NO_MIGRATE"`
	app.Settings
}

// Run serves until it is told to stop.
func (c *serveCommand) Run(ctx context.Context, term terminal) error {
	config, err := c.Parse()
	if err := errors.Join(c.check(), checkScheme(c.MigrateDatabaseURL), err); err != nil {
		return err
	}
	logger := newLogger(term, config.LogLevel)
	if !c.NoMigrate {
		owner := cmp.Or(c.MigrateDatabaseURL, c.DatabaseURL)
		if err := migrateWhenReachable(ctx, owner, logger); err != nil {
			return err
		}
	}
	in, err := app.Start(ctx, config, c.DatabaseURL, logger)
	if err != nil {
		return err
	}
	return in.Serve(ctx)
}

// migrateWhenReachable migrates. It waits for a database that is still starting. The
// migration itself, and the wait for that of another instance, take as long as they need.
func migrateWhenReachable(ctx context.Context, url string, logger *slog.Logger) error {
	reachable, cancel := context.WithTimeout(ctx, migrateWait)
	defer cancel()
	for {
		err := migrations.Up(ctx, url)
		if !errors.Is(err, migrations.ErrUnreachable) {
			return err
		}
		logger.Warn("waiting for the database to migrate", "error", err)
		select {
		case <-reachable.Done():
			return err
		case <-time.After(migrateRetryInterval):
		}
	}
}
