package main

import (
	"context"
	"fmt"

	"github.com/paymentsvc/paymentsvc/migrations"
)

// migrateCommand is paymentsvc migrate. It works as the owner of the schema.
type migrateCommand struct {
	DatabaseURL string `help:"Postgres connection URL, as the owner of the schema." env:"MIGRATE_DATABASE_URL,DATABASE_URL" placeholder:"URL"`

	Up      migrateUpCommand      `cmd:"" help:"Bring the schema to this build's version."`
	Down    migrateDownCommand    `cmd:"" help:"Take back the last N migrations, with the data that only they can hold."`
	Version migrateVersionCommand `cmd:"" help:"Print the schema's version."`
	Force   migrateForceCommand   `cmd:"" help:"Record N as the schema's version and run nothing, after the schema was changed by hand. An interrupted migration does not need it."`
}

func (c *migrateCommand) url() (string, error) {
	return c.DatabaseURL, databaseFlags{c.DatabaseURL}.check()
}

type migrateUpCommand struct{}

// Run migrates up.
func (*migrateUpCommand) Run(ctx context.Context, cli *commands) error {
	url, err := cli.Migrate.url()
	if err != nil {
		return err
	}
	return migrations.Up(ctx, url)
}

type migrateDownCommand struct {
	Steps int `arg:"" name:"n" help:"How many."`
}

// Run migrates down.
func (c *migrateDownCommand) Run(ctx context.Context, cli *commands) error {
	url, err := cli.Migrate.url()
	if err != nil {
		return err
	}
	return migrations.Down(ctx, url, c.Steps)
}

type migrateVersionCommand struct{}

// Run prints the version.
func (*migrateVersionCommand) Run(ctx context.Context, term terminal, cli *commands) error {
	url, err := cli.Migrate.url()
	if err != nil {
		return err
	}
	version, err := migrations.Version(ctx, url)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(term.out, version)
	return err
}

type migrateForceCommand struct {
	Version int `arg:"" name:"n" help:"The version."`
}

// Run records the version.
func (c *migrateForceCommand) Run(ctx context.Context, cli *commands) error {
	url, err := cli.Migrate.url()
	if err != nil {
		return err
	}
	return migrations.Force(ctx, url, c.Version)
}
