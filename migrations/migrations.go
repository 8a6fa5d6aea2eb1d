// Package migrations holds the schema as numbered SQL files and moves a database
// between its versions.
//
// The files explain the stored data; docs/schema.md is generated from a migrated
// database. golang-migrate chooses the files to run. Each file runs in one transaction,
// which also writes or deletes the version's row in schema_versions. So a migration and
// its record exist together or not at all, and a killed process leaves nothing to repair.
// An advisory lock is held from the first read of the version to the end. If several
// instances start at the same moment, one migrates and the others find the work done.
package migrations

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/source/iofs"
)

// FS is every migration file, in both directions.
//
//go:embed *.sql
var FS embed.FS

// Schema versions that this build works with, from Oldest. A schema newer than Latest
// tells in schema_versions.breaks_older_builds whether it works too (see Checker).
const (
	Oldest uint = 8
	Latest uint = 8
)

// ErrUnreachable means that there was no connection to the database. Nothing was done.
var ErrUnreachable = errors.New("the database cannot be reached")

// Up migrates the database at url to Latest, and distributes its tables in sharded mode.
// Many instances may call it at once. It does nothing if that is done, or if a newer
// release has done it.
func Up(ctx context.Context, url string) error {
	return with(ctx, url, func(d *driver) error {
		version, err := recordedVersion(ctx, d.conn)
		if err != nil {
			return err
		}
		if version < Latest {
			if err := d.migrate((*migrate.Migrate).Up); err != nil {
				return err
			}
		}
		return d.shard()
	})
}

// Down reverts the last steps migrations. Data that only their tables and columns hold
// is lost.
func Down(ctx context.Context, url string, steps int) error {
	if steps < 1 {
		return fmt.Errorf("migrating down %d steps: the number must be at least 1", steps)
	}
	return with(ctx, url, func(d *driver) error {
		if err := d.requireSchema(); err != nil {
			return err
		}
		return d.migrate(func(m *migrate.Migrate) error { return m.Steps(-steps) })
	})
}

// Force records version as the schema's version and runs nothing. No interrupted
// migration needs it. It is for an operator who has changed the schema by hand.
func Force(ctx context.Context, url string, version int) error {
	if version < 1 || version > int(Latest) {
		return fmt.Errorf("forcing version %d: this build knows 1 to %d", version, Latest)
	}
	return with(ctx, url, func(d *driver) error {
		if err := d.requireSchema(); err != nil {
			return err
		}
		_, err := d.conn.Exec(ctx, `
			WITH newer AS (DELETE FROM schema_versions WHERE version > $1)
			INSERT INTO schema_versions (version)
			SELECT generate_series(1, $1::bigint)
			ON CONFLICT (version) DO NOTHING`, version)
		return err
	})
}

// Version is the schema's version, 0 for an empty database.
func Version(ctx context.Context, url string) (version uint, err error) {
	err = with(ctx, url, func(d *driver) error {
		version, err = recordedVersion(ctx, d.conn)
		return err
	})
	return version, err
}

// with calls use with a driver that holds the lock.
func with(ctx context.Context, url string, use func(*driver) error) (err error) {
	d, err := connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := d.lock(ctx); err != nil {
		return err
	}
	if err := use(d); err != nil {
		return fmt.Errorf("migrating: %w", withHint(err))
	}
	return nil
}

// requireSchema returns ErrEmpty for a database without a schema.
func (d *driver) requireSchema() error {
	version, err := recordedVersion(d.ctx, d.conn)
	if err == nil && version == 0 {
		return ErrEmpty
	}
	return err
}

// migrate lets golang-migrate run the embedded files. move says which.
func (d *driver) migrate(move func(*migrate.Migrate) error) error {
	files, err := iofs.New(fs.FS(FS), ".")
	if err != nil {
		return fmt.Errorf("reading the embedded migrations: %w", err)
	}
	m, err := migrate.NewWithInstance("embedded", files, "paymentsvc", d)
	if err != nil {
		return fmt.Errorf("preparing golang-migrate: %w", err)
	}
	if err := move(m); err != nil && !errors.Is(err, migrate.ErrNoChange) {
		return err
	}
	return nil
}
