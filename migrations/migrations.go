// Package migrations holds the schema as numbered SQL files and moves a database between its versions.
//
// The files are the place to learn what is stored and why: each table opens with a paragraph of prose. They are run by
// golang-migrate, which takes an advisory lock, so instances that start at the same moment migrate once. Every file is
// one transaction: a version is there as a whole or not at all.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	pgxmigrate "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // the "pgx" driver of database/sql, which golang-migrate speaks
)

// FS is every migration file, in both directions.
//
//go:embed *.sql
var FS embed.FS

// Schema versions that this build can work with: Oldest at least. A newer one than Latest says itself, in the table
// schema_compatibility, whether this build can live with it (see Check).
const (
	Oldest uint = 6
	Latest uint = 6
)

// ErrUnreachable means that the database could not be connected to. Nothing was done.
var ErrUnreachable = errors.New("the database cannot be reached")

// Up brings the database at url to Latest. It is safe to call from many instances at once, and does nothing on a
// schema that is already there. A schema newer than Latest is left alone: it belongs to a newer release.
func Up(ctx context.Context, url string) error {
	return with(ctx, url, func(m *migrate.Migrate) error {
		if isNewer(m) {
			return nil
		}
		if err := m.Up(); err != nil && !isNewer(m) { // a newer release may have been first while this one waited its turn
			return err
		}
		return nil
	})
}

func isNewer(m *migrate.Migrate) bool {
	version, _, err := m.Version()
	return err == nil && version > Latest
}

// Down takes back the last steps migrations, and with them the data that only they can hold.
func Down(ctx context.Context, url string, steps int) error {
	if steps < 1 {
		return fmt.Errorf("migrating down %d steps: the number must be at least 1", steps)
	}
	return with(ctx, url, func(m *migrate.Migrate) error { return m.Steps(-steps) })
}

// Force records version as the one that the schema has, without running anything. It is the way out after a
// migration that was interrupted half-way ("dirty"), once somebody has looked.
func Force(ctx context.Context, url string, version int) error {
	if version == 0 {
		version = database.NilVersion // golang-migrate's way to say that nothing has been run
	}
	return with(ctx, url, func(m *migrate.Migrate) error { return m.Force(version) })
}

// Version tells the schema's version, 0 for an empty database, and whether a migration to it was interrupted.
func Version(ctx context.Context, url string) (version uint, dirty bool, err error) {
	err = with(ctx, url, func(m *migrate.Migrate) error {
		version, dirty, err = m.Version()
		if errors.Is(err, migrate.ErrNilVersion) {
			return nil
		}
		return err
	})
	return version, dirty, err
}

// with opens the database for one use of golang-migrate. The *sql.DB is its own, because m.Close closes it.
func with(ctx context.Context, url string, use func(*migrate.Migrate) error) (err error) {
	files, err := iofs.New(fs.FS(FS), ".")
	if err != nil {
		return fmt.Errorf("reading the embedded migrations: %w", err)
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		return fmt.Errorf("opening the database to migrate: %w", err)
	}
	if err := db.PingContext(ctx); err != nil {
		return errors.Join(fmt.Errorf("%w: %w", ErrUnreachable, err), db.Close())
	}
	driver, err := pgxmigrate.WithInstance(db, &pgxmigrate.Config{})
	if err != nil {
		return errors.Join(fmt.Errorf("preparing to migrate: %w", err), db.Close())
	}
	m, err := migrate.NewWithInstance("embedded", files, "pgx5", driver)
	if err != nil {
		return errors.Join(fmt.Errorf("preparing to migrate: %w", err), driver.Close())
	}
	defer func() {
		sourceErr, databaseErr := m.Close()
		err = errors.Join(err, sourceErr, databaseErr)
	}()
	stop := context.AfterFunc(ctx, func() { m.GracefulStop <- true })
	defer stop()
	if err := use(m); err != nil && !errors.Is(err, migrate.ErrNoChange) {
		return fmt.Errorf("migrating: %w", readable(err))
	}
	return nil
}

// readable leaves out the text of the migration, which golang-migrate quotes whole, and adds the server's hint.
func readable(err error) error {
	failed, ok := errors.AsType[database.Error](err)
	if !ok {
		return err
	}
	reported, ok := errors.AsType[*pgconn.PgError](failed.OrigErr)
	if !ok {
		return failed.OrigErr
	}
	if reported.Hint != "" {
		return fmt.Errorf("%w. %s", reported, reported.Hint)
	}
	return reported
}
