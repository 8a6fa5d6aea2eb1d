package main

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// databaseFlags name the database that a command works on.
type databaseFlags struct {
	DatabaseURL string `help:"Postgres connection URL." env:"DATABASE_URL" placeholder:"URL"`
}

func (f databaseFlags) check() error {
	if f.DatabaseURL == "" {
		return errors.New("DATABASE_URL (or --database-url) is required: " +
			"this command never falls back to a database of its own")
	}
	return nil
}

// withPool runs a command on its database, with one connection.
func (f databaseFlags) withPool(ctx context.Context, run func(*pgxpool.Pool) error) error {
	if err := f.check(); err != nil {
		return err
	}
	pools, err := postgres.Open(ctx,
		postgres.Options{URL: f.DatabaseURL, GeneralSize: 1, MoneySize: 1})
	if err != nil {
		return err
	}
	defer pools.Close()
	return run(pools.General)
}
