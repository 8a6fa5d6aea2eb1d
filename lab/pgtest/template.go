package pgtest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // the "pgx" driver of database/sql, which pgtestdb uses
	"github.com/peterldowns/pgtestdb"

	"github.com/paymentsvc/paymentsvc/migrations"
)

// The mode of the databases (see the package comment).
const (
	modeVariable = "TEST_POSTGRES_MODE"
	modeSharded  = "sharded"
)

//go:embed sharded.sql
var shardedSQL string

// Shard puts the database into sharded mode, for the sessions that begin afterwards.
func (db *DB) Shard(t testing.TB) {
	t.Helper()
	name := pgx.Identifier{db.Pool.Config().ConnConfig.Database}.Sanitize()
	if err := errors.Join(
		asAdmin(t.Context(), db.AdminURL,
			`ALTER DATABASE `+name+` SET paymentsvc.sharded = 'on'`),
		migrations.Up(t.Context(), db.URL)); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
}

// OnOnePostgres leaves the mode out of a package's tests. It comes before Main.
func OnOnePostgres() { _ = os.Unsetenv(modeVariable) }

// Sharded tells whether the databases are in sharded mode.
func Sharded() bool { return os.Getenv(modeVariable) == modeSharded }

// testConfig tells pgtestdb how to reach the server.
func testConfig(adminURL string) (pgtestdb.Config, error) {
	u, err := url.Parse(adminURL)
	if err != nil || u.Host == "" {
		return pgtestdb.Config{}, errors.New(
			"TEST_DATABASE_URL must look like postgres://user:password@host:port/database")
	}
	password, _ := u.User.Password()
	// pgtestdb puts its URLs together as they are
	escaped := func(part string) string { return url.User(part).String() }
	role := ownerRole(adminURL)
	return pgtestdb.Config{
		DriverName: "pgx",
		// with the brackets of an IPv6 address
		Host:     strings.TrimSuffix(u.Host, ":"+u.Port()),
		Port:     u.Port(),
		User:     escaped(u.User.Username()),
		Password: escaped(password),
		Database: strings.TrimPrefix(u.Path, "/"),
		Options:  u.RawQuery,
		TestRole: &role,
		// A service under test may still be closing its connections. Main finds leaks, as
		// goroutines.
		ForceTerminateConnections: true,
	}, nil
}

// ownerRole owns the test databases and runs the migrations, with the rights that a
// production owner needs and no others. It can create roles, which before Postgres 16
// is nearly a superuser's power, so its password must not be a known one. It is derived
// from the administrator's, and so is the name: a changed password changes both.
func ownerRole(adminURL string) pgtestdb.Role {
	secret := sha256.Sum256([]byte("pgtest owner of " + adminURL + os.Getenv(modeVariable)))
	name := sha256.Sum256(secret[:])
	return pgtestdb.Role{
		Username:     "pgtest_" + hex.EncodeToString(name[:4]),
		Password:     hex.EncodeToString(secret[:16]),
		Capabilities: "NOSUPERUSER CREATEROLE NOCREATEDB",
	}
}

// migrator makes the template, from which pgtestdb copies the tests' databases. Test
// processes on one server share a template if they have the same migrations.
type migrator struct{ adminURL string }

// Hash changes with every change of a migration.
func (migrator) Hash() (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, os.Getenv(modeVariable), shardedSQL)
	err := fs.WalkDir(migrations.FS, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(migrations.FS, path)
		fmt.Fprintf(hash, "%s %d\n%s", path, len(content), content)
		return err
	})
	return hex.EncodeToString(hash.Sum(nil)), err
}

// Migrate runs the migrations as the role that owns the template.
func (m migrator) Migrate(ctx context.Context, _ *sql.DB, template pgtestdb.Config) error {
	if err := shareAppRole(ctx, m.adminURL, template.User); err != nil {
		return err
	}
	if err := setMode(ctx, m.adminURL, template.User); err != nil {
		return err
	}
	if err := migrations.Up(ctx, template.URL()); err != nil || !Sharded() {
		return err
	}
	return asAdmin(ctx, template.URL(), shardedSQL)
}

// setMode puts all sessions of the owner into the mode.
func setMode(ctx context.Context, adminURL, owner string) error {
	switch mode := os.Getenv(modeVariable); mode {
	case "":
		return nil
	case modeSharded:
		return asAdmin(ctx, adminURL,
			`ALTER ROLE `+pgx.Identifier{owner}.Sanitize()+` SET paymentsvc.sharded = 'on'`)
	default:
		return fmt.Errorf("%s is %q: it must be %s, or be left out", modeVariable, mode,
			modeSharded)
	}
}

// shareAppRole lets owner grant the application's role where another owner has created
// it before. That happens on a server that stays: roles belong to the whole server, and
// since Postgres 16 to their creator.
func shareAppRole(ctx context.Context, adminURL, owner string) error {
	err := asAdmin(ctx, adminURL,
		`GRANT paymentsvc_app TO `+pgx.Identifier{owner}.Sanitize()+` WITH ADMIN OPTION`)
	const undefinedObject = "42704" // the migrations create the role
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == undefinedObject {
		return nil
	}
	return err
}

func asAdmin(ctx context.Context, adminURL string, statements ...string) (err error) {
	conn, err := pgx.Connect(ctx, adminURL)
	if err != nil {
		return fmt.Errorf("connecting as administrator: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("as administrator: %w", err)
		}
	}
	return nil
}
