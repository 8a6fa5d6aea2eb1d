package migrations

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrSchema means that this build must not move money on the database's schema.
var ErrSchema = errors.New("the schema is not fit for use")

// guards are the constraints and triggers of version Latest, and the functions that they
// call, a line each. "Exactly once" and the ledger depend on them, and code cannot
// replace them. `make schema-docs` writes the file.
//
//go:embed guards.txt
var guards string

//go:embed guards.sql
var selectGuards string

// Querier is a pool, a connection or a transaction.
type Querier interface {
	queryRower
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Checker tells whether the schema is fit for use. It reads the version each time, and
// the guards once for each version. It is not safe for concurrent use.
type Checker struct {
	fit int64 // the version whose guards are all there; 0: none yet
}

// Check returns ErrSchema with the reason, unless the schema has a version that works
// with this build, and every guard.
func (c *Checker) Check(ctx context.Context, db Querier) error {
	version, err := usableVersion(ctx, db)
	if err != nil || version == c.fit {
		return err
	}
	if err := checkGuards(ctx, db, version); err != nil {
		return err
	}
	c.fit = version
	return nil
}

// CheckVersion returns ErrSchema with the reason, unless the schema has a version that
// works with this build.
func CheckVersion(ctx context.Context, db Querier) error {
	_, err := usableVersion(ctx, db)
	return err
}

// ErrEmpty means that no migration has run.
var ErrEmpty = fmt.Errorf("%w: the database is empty: run paymentsvc migrate up", ErrSchema)

// Explain returns ErrEmpty if the server refused a session because its role, which a
// migration makes, does not exist. Any other error is returned as it is.
func Explain(err error) error {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	if ok && refused.Code == invalidParameter && strings.Contains(refused.Message, role) {
		return ErrEmpty
	}
	return err
}

// usableVersion reads the schema's version. It refuses a version that does not work with
// this build.
func usableVersion(ctx context.Context, db queryRower) (int64, error) {
	var version, needs int64
	err := db.QueryRow(ctx, `
		SELECT coalesce(max(version), 0),
			coalesce(max(version) FILTER (WHERE breaks_older_builds), 0)
		FROM schema_versions`).Scan(&version, &needs)
	if reported, ok := errors.AsType[*pgconn.PgError](err); ok && reported.Code == undefinedTable {
		version, err = 0, nil
		if _, old := recordedVersion(ctx, db); errors.Is(old, ErrOldSchema) {
			return 0, fmt.Errorf("%w: %w", ErrSchema, old)
		}
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("reading the schema's version: %w", Explain(err))
	case version == 0:
		return 0, ErrEmpty
	case version < int64(Oldest):
		return 0, fmt.Errorf("%w: it has version %d, and this build needs %d:"+
			" run paymentsvc migrate up", ErrSchema, version, Oldest)
	case needs > int64(Latest):
		return 0, fmt.Errorf("%w: it has version %d, which needs a build that knows %d,"+
			" and this one knows %d", ErrSchema, version, needs, Latest)
	}
	return version, nil
}

// role is that of the service's sessions.
const role = "paymentsvc_app"

// PostgreSQL manual, appendix A.
const (
	undefinedTable   = "42P01"
	invalidParameter = "22023"
)

// checkGuards looks for every guard. In a newer schema it looks only for primary keys and
// unique constraints: a newer release may have replaced checks and triggers, and its own
// instances check those.
func checkGuards(ctx context.Context, db Querier, version int64) error {
	rows, err := db.Query(ctx, selectGuards)
	if err != nil {
		return fmt.Errorf("reading the schema's guards: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("reading the schema's guards: %w", err)
	}
	wanted, err := wantedGuards(ctx, db)
	if err != nil {
		return fmt.Errorf("reading the schema's mode: %w", err)
	}
	var missing []string
	for _, guard := range wanted {
		isKey := strings.Contains(guard, ": PRIMARY KEY ") || strings.Contains(guard, ": UNIQUE ")
		if !slices.Contains(found, guard) && (isKey || version <= int64(Latest)) {
			missing = append(missing, guard)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: it does not have %s", ErrSchema, strings.Join(missing, "; "))
	}
	return nil
}
