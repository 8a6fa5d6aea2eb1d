package main

import (
	"context"
	"errors"
	"regexp"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/migrations"
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
	return checkScheme(f.DatabaseURL)
}

// connectionString is a URL, or libpq's keywords such as host=….
var connectionString = regexp.MustCompile(`^(postgres(ql)?://|\s*\w+\s*=)`)

// checkScheme refuses a URL without a scheme, which pgx would take for keywords. The
// error does not repeat the URL, which may hold a password.
func checkScheme(url string) error {
	if url != "" && !connectionString.MatchString(url) {
		return errors.New("the database URL does not begin with postgres://: " +
			"write postgres://USER:PASSWORD@HOST:5432/DATABASE")
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
	if err := migrations.CheckVersion(ctx, pools.General); err != nil {
		return err
	}
	return run(pools.General)
}
