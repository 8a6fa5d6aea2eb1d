package migrations

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/golang-migrate/migrate/v4/database"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrOldSchema means that the database was made by a development version of this
// project.
var ErrOldSchema = errors.New("the database was made by the migrations of a development version" +
	" before 0.1.0, which this build cannot upgrade:" +
	" create a new database and point the service to it")

// tableLockTimeout limits the wait of a migration for a table that is in use: every
// charge would wait behind the migration. A lock_timeout in the URL takes precedence.
const tableLockTimeout = "5s"

// These bound connecting and closing, and no migration.
const (
	connectTimeout = 5 * time.Second
	closeTimeout   = 5 * time.Second
)

// driver is golang-migrate's access to one database, over one connection.
//
// golang-migrate's own driver marks a version as dirty in one transaction, migrates in a
// second, and removes the mark in a third. A process that is killed in between leaves a
// mark that does not tell whether the migration took effect. This driver has no mark:
// Run commits the migration together with its record.
type driver struct {
	ctx    context.Context //nolint:containedctx // golang-migrate passes none to Run
	conn   *pgx.Conn
	target int // the version that the next Run leads to
}

var _ database.Driver = (*driver)(nil)

func connect(ctx context.Context, url string) (*driver, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("reading the database's URL: %w", err)
	}
	if config.RuntimeParams["lock_timeout"] == "" {
		config.RuntimeParams["lock_timeout"] = tableLockTimeout
	}
	connecting, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(connecting, config)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return &driver{ctx: ctx, conn: conn}, nil
}

// lock waits until no other process migrates this database. The lock belongs to the
// connection that runs the migrations. If the process is killed while the server executes
// a migration, the lock lasts until that migration has ended.
func (d *driver) lock(ctx context.Context) error {
	_, err := d.conn.Exec(ctx, `
		SET LOCAL lock_timeout = 0;
		SELECT pg_advisory_lock(hashtextextended('paymentsvc migrations', 0))`)
	if err != nil {
		return fmt.Errorf("waiting for another migration of this database: %w", err)
	}
	return nil
}

// Run executes one migration, whose text also changes schema_versions, in one
// transaction.
func (d *driver) Run(migration io.Reader) error {
	text, err := io.ReadAll(migration)
	if err != nil {
		return fmt.Errorf("reading the migration to version %d: %w", d.target, err)
	}
	return pgx.BeginFunc(d.ctx, d.conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(d.ctx, string(text)); err != nil {
			return err
		}
		recorded, err := recordedVersion(d.ctx, tx)
		if err == nil && int(recorded) != max(d.target, 0) {
			err = fmt.Errorf("the migration to version %d records version %d", d.target, recorded)
		}
		return err
	})
}

// SetVersion is called before and after Run. Run itself writes the record.
func (d *driver) SetVersion(version int, _ bool) error {
	d.target = version
	return nil
}

// Version is the recorded version, which is never dirty.
func (d *driver) Version() (version int, dirty bool, err error) {
	recorded, err := recordedVersion(d.ctx, d.conn)
	if recorded == 0 {
		return database.NilVersion, false, err
	}
	return int(recorded), false, err
}

// Close ends the connection, and with it the lock.
func (d *driver) Close() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.ctx), closeTimeout)
	defer cancel()
	return d.conn.Close(ctx)
}

// Lock and Unlock have nothing to do: the lock was taken before golang-migrate began.
func (*driver) Lock() error   { return nil }
func (*driver) Unlock() error { return nil }

// Open and Drop are not used.
func (*driver) Open(string) (database.Driver, error) { return nil, errors.ErrUnsupported }
func (*driver) Drop() error                          { return errors.ErrUnsupported }

// queryRower is a pool, a connection or a transaction.
type queryRower interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// recordedVersion is the schema's version, 0 for an empty database.
func recordedVersion(ctx context.Context, db queryRower) (uint, error) {
	var ours, theirs bool
	err := db.QueryRow(ctx, `
		SELECT to_regclass('schema_versions') IS NOT NULL,
			to_regclass('schema_migrations') IS NOT NULL`,
	).Scan(&ours, &theirs)
	switch {
	case err != nil:
		return 0, fmt.Errorf("looking for the schema: %w", err)
	case !ours && theirs: // the table of golang-migrate's own driver
		return 0, ErrOldSchema
	case !ours:
		return 0, nil
	}
	var version uint
	err = db.QueryRow(ctx, `SELECT coalesce(max(version), 0) FROM schema_versions`).Scan(&version)
	if err != nil {
		return 0, fmt.Errorf("reading the schema's version: %w", err)
	}
	return version, nil
}

// withHint adds the server's hint to its error.
func withHint(err error) error {
	if reported, ok := errors.AsType[*pgconn.PgError](err); ok && reported.Hint != "" {
		return fmt.Errorf("%w. %s", err, reported.Hint)
	}
	return err
}
