package main

import "errors"

// databaseFlags say which database a command works on.
type databaseFlags struct {
	DatabaseURL string `help:"Postgres connection URL." env:"DATABASE_URL" placeholder:"URL"`
}

func (f databaseFlags) check() error {
	if f.DatabaseURL == "" {
		return errors.New(
			"DATABASE_URL (or --database-url) is required: this command never falls back to a " +
				"database of its own",
		)
	}
	return nil
}
