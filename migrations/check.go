package migrations

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrSchema means that the database's schema is not one that this build may run money on.
var ErrSchema = errors.New("the schema is not fit for use")

// Querier is a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// required are the constraints and triggers that "exactly once" rests on, as Postgres prints them. They are looked at by
// every instance before it is ready and while it runs, because the code relies on them and cannot replace them.
var required = []struct{ table, name, definition string }{
	{"idempotency_keys", "idempotency_keys_pkey", "PRIMARY KEY (merchant_id, scope, key)"},
	{"idempotency_keys", "idempotency_keys_kept", "trigger"},
	{"idempotency_keys", "idempotency_keys_immutable", "trigger"},
	{"idempotency_answers", "idempotency_answers_pkey", "PRIMARY KEY (merchant_id, request_id)"},
	{"payments", "payments_pkey", "PRIMARY KEY (merchant_id, id)"},
	{"payments", "payments_claimed_by_key", "trigger"},
	{"payment_references", "payment_references_pkey", "PRIMARY KEY (merchant_id, reference)"},
	{"accounts", "accounts_pkey", "PRIMARY KEY (merchant_id, id)"},
	{"entries", "entries_pkey", "PRIMARY KEY (merchant_id, account_id, sequence)"},
	{"entries", "entries_balanced", "trigger"},
	{"entries", "entries_immutable", "trigger"},
}

// Check returns ErrSchema, with the reason, unless the schema has a version that this build knows, whole, and each of
// the constraints that it relies on. A version above Latest is accepted unless the schema itself says, in
// schema_compatibility, that builds like this one cannot live with it: a rolling deploy depends on that.
func Check(ctx context.Context, db Querier) error {
	var version, needs int64
	var dirty bool
	err := db.QueryRow(ctx, `
		SELECT m.version, m.dirty, c.needs_version
		FROM schema_migrations m, schema_compatibility c`).Scan(&version, &dirty, &needs)
	_, answered := errors.AsType[*pgconn.PgError](err)
	switch {
	case errors.Is(err, pgx.ErrNoRows), answered: // there is no version to read, or no table to read it from
		return fmt.Errorf("%w: reading its version: %w", ErrSchema, err)
	case err != nil:
		return fmt.Errorf("reading the schema's version: %w", err)
	case dirty:
		return fmt.Errorf("%w: the migration to version %d was interrupted", ErrSchema, version)
	case version < int64(Oldest):
		return fmt.Errorf("%w: it has version %d, and this build needs %d", ErrSchema, version, Oldest)
	case needs > int64(Latest):
		return fmt.Errorf("%w: it has version %d, which needs a build that knows %d, and this one knows %d",
			ErrSchema, version, needs, Latest)
	}
	found, err := guards(ctx, db)
	if err != nil {
		return fmt.Errorf("reading the schema's constraints: %w", err)
	}
	for _, want := range required {
		if got := found[want.table+"."+want.name]; got != want.definition {
			return fmt.Errorf("%w: %s.%s should be %q, and is %q", ErrSchema, want.table, want.name, want.definition, got)
		}
	}
	return nil
}

// guards reads the unique constraints that are valid and the triggers that are enabled.
func guards(ctx context.Context, db Querier) (map[string]string, error) {
	rows, err := db.Query(ctx, `
		SELECT c.relname || '.' || k.conname, pg_get_constraintdef(k.oid)
		FROM pg_constraint k
		JOIN pg_class c ON c.oid = k.conrelid
		JOIN pg_index i ON i.indexrelid = k.conindid
		WHERE k.contype IN ('p', 'u') AND i.indisunique AND i.indisvalid AND i.indisready
			AND c.relnamespace = current_schema()::regnamespace
		UNION ALL
		SELECT c.relname || '.' || t.tgname, 'trigger'
		FROM pg_trigger t
		JOIN pg_class c ON c.oid = t.tgrelid
		WHERE t.tgenabled IN ('O', 'A') AND NOT t.tgisinternal AND c.relnamespace = current_schema()::regnamespace`)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	var name, definition string
	_, err = pgx.ForEachRow(rows, []any{&name, &definition}, func() error {
		found[name] = definition
		return nil
	})
	return found, err
}
