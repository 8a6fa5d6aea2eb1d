package migrations

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrSchema means that the database's schema is not one that this build may run money on.
var ErrSchema = errors.New("the schema is not fit for use")

// ErrLocked means that it cannot be told now whether the schema is fit, because somebody has locked one of its tables.
var ErrLocked = errors.New("a table is locked, so that its constraints cannot be read")

// Querier is a pool, a connection or a transaction.
type Querier interface {
	SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// required are the constraints and triggers that "exactly once" and the books rest on, as Postgres prints them. They are
// looked at by every instance before it is ready and while it runs, because the code relies on them and cannot replace
// them. What the triggers' functions do is looked at too (see bodies).
var required = []struct{ table, name, definition string }{
	{"idempotency_keys", "idempotency_keys_pkey", "PRIMARY KEY (merchant_id, scope, key)"},
	{"idempotency_keys", "idempotency_keys_kept", "BEFORE DELETE FOR EACH ROW EXECUTE FUNCTION refuse_losing_a_key()"},
	{"idempotency_keys", "idempotency_keys_immutable", "BEFORE UPDATE OR TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"},
	{"idempotency_answers", "idempotency_answers_pkey", "PRIMARY KEY (merchant_id, request_id)"},
	{"idempotency_answers", "idempotency_answers_status_final", "CHECK (status >= 200 AND status <= 299 OR status = 402)"},
	{"payments", "payments_pkey", "PRIMARY KEY (merchant_id, id)"},
	{"payments", "payments_claimed_by_key", "AFTER INSERT REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT" +
		" EXECUTE FUNCTION refuse_payment_without_its_key()"},
	{"payments", "payments_amount_range", "CHECK (amount >= 1 AND amount <= '9007199254740991'::bigint)"},
	{"payments", "payments_captured_within_amount", "CHECK (amount_captured >= 0 AND amount_captured <= amount)"},
	{"payments", "payments_refunded_within_captured", "CHECK (amount_refunded >= 0 AND amount_refunded <= amount_captured)"},
	{"payments", "payments_captured_when_succeeded", "CHECK ((status = 'succeeded'::text) = (amount_captured > 0))"},
	{"payments", "payments_authorized_has_an_end", "CHECK (status <> 'authorized'::text OR authorized_until IS NOT NULL)"},
	{"payments", "payments_transition_legal", "BEFORE UPDATE FOR EACH ROW EXECUTE FUNCTION refuse_illegal_transition()"},
	{"refunds", "refunds_pkey", "PRIMARY KEY (merchant_id, payment_id, id)"},
	{"refunds", "refunds_one_per_key", "UNIQUE (merchant_id, idempotency_key)"},
	{"refunds", "refunds_amount_range", "CHECK (amount >= 1 AND amount <= '9007199254740991'::bigint)"},
	{"refunds", "refunds_claimed_by_key", "AFTER INSERT REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT" +
		" EXECUTE FUNCTION refuse_refund_without_its_key()"},
	{"payment_references", "payment_references_pkey", "PRIMARY KEY (merchant_id, reference)"},
	{"accounts", "accounts_pkey", "PRIMARY KEY (merchant_id, id)"},
	{"accounts", "accounts_closed_for_good", "BEFORE UPDATE OF status FOR EACH ROW" +
		" WHEN (old.status = 'closed'::text AND new.status <> 'closed'::text) EXECUTE FUNCTION refuse_reopening()"},
	{"accounts", "accounts_held_not_negative", "CHECK (held >= 0)"},
	{"accounts", "accounts_open_payments_not_negative", "CHECK (open_payments >= 0)"},
	{"accounts", "accounts_held_for_open_payments", "CHECK (held <= 0 OR open_payments > 0)"},
	{"accounts", "accounts_closed_has_nothing_open", "CHECK (status = 'open'::text OR open_payments = 0)"},
	{"accounts", "accounts_balance_above_floor", "CHECK (overdraft_limit IS NULL OR (balance - held) >= (- overdraft_limit))"},
	{"entries", "entries_pkey", "PRIMARY KEY (merchant_id, account_id, sequence)"},
	{"entries", "entries_amount_not_zero", "CHECK (amount <> 0)"},
	{"entries", "entries_balanced", "AFTER INSERT REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT" +
		" EXECUTE FUNCTION refuse_unbalanced_journal()"},
	{"entries", "entries_immutable", "BEFORE DELETE OR UPDATE OR TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"},
}

// bodies are what the trigger functions do, by name, as the migrations say it: Postgres keeps the text between the dollar
// quotes as it is. A trigger whose function was replaced by one that does nothing is enabled, and guards nothing.
var bodies = sync.OnceValues(func() (map[string]string, error) {
	files, err := fs.Glob(FS, "*.up.sql") // in the order of their numbers
	if err != nil {
		return nil, fmt.Errorf("listing the embedded migrations: %w", err)
	}
	found := map[string]string{}
	for _, file := range files {
		text, err := fs.ReadFile(FS, file)
		if err != nil {
			return nil, fmt.Errorf("reading the embedded migrations: %w", err)
		}
		for _, function := range triggerFunction.FindAllStringSubmatch(string(text), -1) {
			found[function[1]] = function[2] // a later migration may replace an earlier one's
		}
	}
	return found, nil
})

var triggerFunction = regexp.MustCompile(
	`(?s)CREATE (?:OR REPLACE )?FUNCTION (\w+)\(\) RETURNS trigger LANGUAGE plpgsql AS \$\$(.*?)\$\$;`)

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
	return checkGuards(ctx, db, version)
}

// checkGuards compares the schema's guards with the required ones.
func checkGuards(ctx context.Context, db Querier, version int64) error {
	found, err := guards(ctx, db)
	if err != nil {
		return fmt.Errorf("reading the schema's constraints: %w", err)
	}
	does, err := bodies()
	if err != nil {
		return err
	}
	for _, want := range required {
		got := found[want.table+"."+want.name]
		if got.definition != want.definition {
			return fmt.Errorf("%w: %s.%s should be %q, and is %q", ErrSchema, want.table, want.name, want.definition, got.definition)
		}
		// A newer release may have a better function under the old name; its own instances compare it with their migrations.
		if got.function != "" && got.body != does[got.function] && version <= int64(Latest) {
			return fmt.Errorf("%w: %s.%s calls %s(), which does not do what the migrations say",
				ErrSchema, want.table, want.name, got.function)
		}
	}
	return nil
}

// guard is a constraint, or a trigger with its function.
type guard struct{ name, definition, function, body string }

// guards reads the unique constraints that are valid, the checks, and the triggers that are enabled.
//
// To print a check or a trigger Postgres opens its table, so it waits for whoever has locked that table against everybody: the
// answer is then ErrLocked.
//
// A trigger's definition is printed without its name and table, which are what it is looked up by.
func guards(ctx context.Context, db Querier) (map[string]guard, error) {
	found := map[string]guard{}
	batch := &pgx.Batch{} // one implicit transaction, for which the first statement sets the limit
	batch.Queue(`SELECT set_config('lock_timeout', '300ms', true)`)
	batch.Queue(`
		SELECT c.relname || '.' || k.conname, pg_get_constraintdef(k.oid, true), '', ''
		FROM pg_constraint k
		JOIN pg_class c ON c.oid = k.conrelid
		LEFT JOIN pg_index i ON i.indexrelid = k.conindid
		WHERE (k.contype = 'c' OR k.contype IN ('p', 'u') AND i.indisunique AND i.indisvalid AND i.indisready)
			AND c.relnamespace = current_schema()::regnamespace
		UNION ALL
		SELECT c.relname || '.' || t.tgname,
			regexp_replace(pg_get_triggerdef(t.oid, true), '^CREATE TRIGGER \w+ (.*) ON [\w.]+ (REFERENCING|FOR) ', '\1 \2 '),
			f.proname, f.prosrc
		FROM pg_trigger t
		JOIN pg_class c ON c.oid = t.tgrelid
		JOIN pg_proc f ON f.oid = t.tgfoid
		WHERE t.tgenabled IN ('O', 'A') AND NOT t.tgisinternal AND c.relnamespace = current_schema()::regnamespace`,
	).Query(func(rows pgx.Rows) error {
		var g guard
		_, err := pgx.ForEachRow(rows, []any{&g.name, &g.definition, &g.function, &g.body}, func() error {
			found[g.name] = g
			return nil
		})
		return err
	})
	err := db.SendBatch(ctx, batch).Close()
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok && refused.Code == "55P03" { // lock_not_available
		return nil, fmt.Errorf("%w: %w", ErrLocked, err)
	}
	return found, err
}
