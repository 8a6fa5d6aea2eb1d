package main

import (
	"context"
	"fmt"

	"github.com/paymentsvc/paymentsvc/migrations"
)

// migrateCommand is paymentsvc migrate. It works as the owner of the schema.
type migrateCommand struct {
	DatabaseURL string `help:"${db}" env:"MIGRATE_DATABASE_URL,DATABASE_URL" placeholder:"URL"`

	Up      migrateUpCommand      `cmd:"" help:"Bring the schema to this build's version."`
	Down    migrateDownCommand    `cmd:"" help:"${migrate_down}"`
	Version migrateVersionCommand `cmd:"" help:"Print the schema's version."`
	Force   migrateForceCommand   `cmd:"" help:"${migrate_force}"`
}

// onDatabase runs a command on the database that the flags name.
func (c *migrateCommand) onDatabase(run func(url string) error) error {
	if err := (databaseFlags{c.DatabaseURL}).check(); err != nil {
		return err
	}
	return run(c.DatabaseURL)
}

type migrateUpCommand struct{}

// Run migrates up.
func (*migrateUpCommand) Run(ctx context.Context, cli *commands) error {
	return cli.Migrate.onDatabase(func(url string) error { return migrations.Up(ctx, url) })
}

type migrateDownCommand struct {
	Steps int `arg:"" name:"n" help:"How many."`
}

// Run migrates down.
func (c *migrateDownCommand) Run(ctx context.Context, cli *commands) error {
	return cli.Migrate.onDatabase(func(url string) error {
		return migrations.Down(ctx, url, c.Steps)
	})
}

type migrateVersionCommand struct{}

// Run prints the version.
func (*migrateVersionCommand) Run(ctx context.Context, term terminal, cli *commands) error {
	return cli.Migrate.onDatabase(func(url string) error {
		version, err := migrations.Version(ctx, url)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(term.out, version)
		return err
	})
}

type migrateForceCommand struct {
	Version int `arg:"" name:"n" help:"The version."`
}

// Run records the version.
func (c *migrateForceCommand) Run(ctx context.Context, cli *commands) error {
	return cli.Migrate.onDatabase(func(url string) error {
		return migrations.Force(ctx, url, c.Version)
	})
}
