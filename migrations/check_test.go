package migrations_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/migrations"
)

// guardsOf has a line for each guard of the schema, as in guards.txt.
func guardsOf(t *testing.T, db *pgtest.DB) []string {
	t.Helper()
	query, err := os.ReadFile("guards.sql")
	if err != nil {
		t.Fatal(err)
	}
	return column[string](t, db.Pool, string(query))
}

func TestGuardsAreThoseOfTheMigrations(t *testing.T) {
	t.Parallel()
	lines := guardsOf(t, pgtest.New(t))
	wantFile(t, "guards.txt", strings.Join(lines, "\n")+"\n", "make schema-docs")
}

func check(t *testing.T, db migrations.Querier) error {
	t.Helper()
	return new(migrations.Checker).Check(t.Context(), db)
}

// wantUnfit expects ErrSchema with this reason.
func wantUnfit(t *testing.T, err error, reason string) {
	t.Helper()
	if !errors.Is(err, migrations.ErrSchema) || !strings.Contains(err.Error(), reason) {
		t.Errorf("got %v, want %v because of %q", err, migrations.ErrSchema, reason)
	}
}

func TestSchemaOfAnotherVersionIsRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for _, test := range []struct{ name, change, reason string }{
		{
			"one that needs a newer build",
			`INSERT INTO schema_versions VALUES (9, true), (10, false)`,
			"has version 10, which needs a build that knows 9",
		},
		{
			"an older one", `DELETE FROM schema_versions WHERE version > 3`,
			"has version 3, and this build needs",
		},
		{"one whose version is gone", `DELETE FROM schema_versions`, "empty"},
	} {
		t.Run(test.name, func(t *testing.T) {
			rolledBack(t, db.Pool, func(tx pgx.Tx) {
				execute(t, tx, test.change)
				wantUnfit(t, check(t, tx), test.reason)
			})
		})
	}
}

func TestEmptyDatabaseIsRefusedWithTheCommandToRun(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	empty(t, db)
	wantUnfit(t, check(t, db.Pool), "run paymentsvc migrate up")
	up(t, db)
}

// A rolling deploy migrates first. Older instances continue, and cannot know newer
// checks and triggers.
func TestNewerSchemaNeedsOnlyTheKeysOfThisBuild(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	rolledBack(t, db.Pool, func(tx pgx.Tx) {
		execute(t, tx, `ALTER TABLE events DROP CONSTRAINT events_type_known`)
		execute(t, tx, `INSERT INTO schema_versions (version) VALUES ($1)`, migrations.Latest+1)
		if err := check(t, tx); err != nil {
			t.Error(err)
		}
		execute(t, tx, `ALTER TABLE refunds DROP CONSTRAINT refunds_one_per_key`)
		wantUnfit(t, check(t, tx), "refunds_one_per_key")
	})
}

func TestDatabaseThatDoesNotAnswerIsNotUnfit(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	closed := connect(t, db.URL)
	if err := closed.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := check(t, closed); err == nil || errors.Is(err, migrations.ErrSchema) {
		t.Errorf("a closed connection: %v, want an error that is not %v", err,
			migrations.ErrSchema)
	}
	rolledBack(t, db.Pool, func(tx pgx.Tx) {
		execute(t, tx, `LOCK TABLE payments`) // printing a CHECK opens its table
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- new(migrations.Checker).Check(ctx, db.Pool) }()
		awaitBlocked(t, db, 1, 0)
		cancel()
		if err := <-done; err == nil || errors.Is(err, migrations.ErrSchema) {
			t.Errorf("a locked table: %v, want an error that is not %v", err, migrations.ErrSchema)
		}
	})
}

// An instance reads the version every 500 ms, and the guards only for a new version.
func TestGuardsOfOneVersionAreReadOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	var checker migrations.Checker
	rolledBack(t, db.Pool, func(tx pgx.Tx) {
		if err := checker.Check(t.Context(), tx); err != nil {
			t.Fatal(err)
		}
		execute(t, tx, `ALTER TABLE refunds DROP CONSTRAINT refunds_one_per_key`)
		if err := checker.Check(t.Context(), tx); err != nil {
			t.Errorf("the same version: %v", err)
		}
		execute(t, tx, `INSERT INTO schema_versions (version) VALUES ($1)`, migrations.Latest+1)
		for range 2 { // a failure is not remembered
			wantUnfit(t, checker.Check(t.Context(), tx), "refunds_one_per_key")
		}
	})
}

func TestSchemaWithoutOneGuardIsRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for _, guard := range guardsOf(t, db) {
		name, definition, _ := strings.Cut(guard, ": ")
		table, object, inTable := strings.Cut(name, ".")
		remove := `ALTER TABLE ` + table + ` DROP CONSTRAINT ` + object + ` CASCADE`
		switch {
		case !inTable: // a function: it stays, and does nothing
			remove = `UPDATE pg_proc SET prosrc = 'BEGIN RETURN NULL; END' WHERE proname = '` +
				strings.TrimSuffix(name, "()") + `'`
		case strings.Contains(definition, "EXECUTE FUNCTION"):
			remove = `DROP TRIGGER ` + object + ` ON ` + table
		case strings.HasPrefix(definition, "UNIQUE") && strings.Contains(definition, " WHERE "):
			remove = `DROP INDEX ` + object // a constraint cannot have a condition
		}
		t.Run(name, func(t *testing.T) {
			rolledBack(t, connect(t, db.AdminURL), func(tx pgx.Tx) {
				execute(t, tx, remove)
				wantUnfit(t, check(t, tx), name)
			})
		})
	}
}

// A guard of the same name may guard less.
func TestSchemaWithAWeakerGuardIsRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	const (
		dropKey   = `ALTER TABLE payment_references DROP CONSTRAINT payment_references_pkey`
		addKey    = dropKey + `, ADD CONSTRAINT payment_references_pkey PRIMARY KEY `
		dropCheck = `ALTER TABLE payments DROP CONSTRAINT payments_amount_range`
		addCheck  = dropCheck + `, ADD CONSTRAINT payments_amount_range `
		entries   = `DROP TRIGGER entries_immutable ON entries;
			CREATE TRIGGER entries_immutable BEFORE `
		change = ` ON entries FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()`
	)
	for _, test := range []struct{ name, guard, change string }{
		{"a key forgets the merchant", "payment_references_pkey", addKey + `(reference)`},
		{
			"a key is checked at COMMIT", "payment_references_pkey",
			addKey + `(merchant_id, reference) DEFERRABLE INITIALLY DEFERRED`,
		},
		{"a key is only an index", "payment_references_pkey", dropKey + `;
			CREATE INDEX payment_references_pkey ON payment_references (merchant_id, reference)`},
		{"a key's index is invalid", "payment_references_pkey", `
			UPDATE pg_index SET indisvalid = false
			WHERE indexrelid = 'payment_references_pkey'::regclass`},
		{"a check is always true", "payments_amount_range", addCheck + `CHECK (true)`},
		{"a check is a trigger", "payments_amount_range", dropCheck + `;
			CREATE TRIGGER payments_amount_range BEFORE UPDATE ON payments
			FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()`},
		{
			"a trigger is off", "entries_immutable",
			`ALTER TABLE entries DISABLE TRIGGER entries_immutable`,
		},
		{"all triggers are off", "entries_balanced", `ALTER TABLE entries DISABLE TRIGGER USER`},
		{
			"a trigger is for replicas", "entries_immutable",
			`ALTER TABLE entries ENABLE REPLICA TRIGGER entries_immutable`,
		},
		{"a trigger has a condition", "entries_immutable", entries + `UPDATE OR DELETE OR TRUNCATE
			ON entries FOR EACH STATEMENT WHEN (false) EXECUTE FUNCTION refuse_change()`},
		{"a trigger misses an event", "entries_immutable", entries + `UPDATE OR DELETE` + change},
		{"a trigger calls another function", "entries_immutable", `
			CREATE FUNCTION audit.refuse_change() RETURNS trigger LANGUAGE plpgsql AS
			$$BEGIN RETURN NULL; END$$;` + entries + `UPDATE OR DELETE OR TRUNCATE
			ON entries FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change()`},
	} {
		t.Run(test.name, func(t *testing.T) {
			rolledBack(t, connect(t, db.AdminURL), func(tx pgx.Tx) {
				execute(t, tx, test.change)
				wantUnfit(t, check(t, tx), test.guard)
			})
		})
	}
}
