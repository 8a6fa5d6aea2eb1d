package migrations_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/migrations"
)

// The instances ask as the restricted role, which reads no more than it must.
func TestAFreshSchemaIsFitForUseInTheEyesOfTheApplication(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	inVain(t, db.Pool, func(tx pgx.Tx) {
		execute(t, tx, `SET LOCAL ROLE paymentsvc_app`)
		if err := migrations.Check(t.Context(), tx); err != nil {
			t.Error(err)
		}
	})
}

// wantUnfit expects ErrSchema, with a reason that says all of what.
func wantUnfit(t *testing.T, err error, what ...string) {
	t.Helper()
	if !errors.Is(err, migrations.ErrSchema) {
		t.Errorf("got %v, want %v", err, migrations.ErrSchema)
		return
	}
	for _, part := range what {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the reason %q does not say %q", err, part)
		}
	}
}

// FAULTS 30.
func TestASchemaOfAnotherVersionIsRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for _, test := range []struct {
		name   string
		change string
		reason string
	}{
		{"one that needs a newer build", `
			UPDATE schema_migrations SET version = 9;
			UPDATE schema_compatibility SET needs_version = 9`, "needs a build that knows 9"},
		{"an interrupted one", `UPDATE schema_migrations SET dirty = true`, fmt.Sprintf("version %d was interrupted", migrations.Latest)},
		{"an interrupted newer one", `UPDATE schema_migrations SET version = 9, dirty = true`, "version 9 was interrupted"},
		{
			"an older one", `UPDATE schema_migrations SET version = 3`,
			fmt.Sprintf("it has version 3, and this build needs %d", migrations.Oldest),
		},
		{"one whose version is gone", `DELETE FROM schema_migrations`, "reading its version"},
		{"one that does not say who can live with it", `DELETE FROM schema_compatibility`, "reading its version"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inVain(t, db.Pool, func(tx pgx.Tx) {
				execute(t, tx, test.change)
				wantUnfit(t, migrations.Check(t.Context(), tx), test.reason)
			})
		})
	}
}

func TestANewerSchemaThatThisBuildCanLiveWithIsFitForUse(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	inVain(t, db.Pool, func(tx pgx.Tx) {
		execute(t, tx, `UPDATE schema_migrations SET version = 9`)
		execute(t, tx, `UPDATE schema_compatibility SET needs_version = $1`, migrations.Latest)
		if err := migrations.Check(t.Context(), tx); err != nil {
			t.Error(err)
		}
	})
}

func TestADatabaseWithoutASchemaIsRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	empty(t, db)
	wantUnfit(t, migrations.Check(t.Context(), db.Pool), "schema_migrations")
	up(t, db)
}

// Whether the schema is fit is one question, and whether the database answers is another.
func TestASilentDatabaseIsNotCalledUnfit(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := connect(t, db.URL)
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := migrations.Check(t.Context(), conn); err == nil || errors.Is(err, migrations.ErrSchema) {
		t.Errorf("got %v, want an error that is not %v", err, migrations.ErrSchema)
	}
}

// The unique constraints that the code relies on, and what each would be without its merchant.
var constraints = []struct{ table, name, kind, columns string }{
	{"idempotency_keys", "idempotency_keys_pkey", "PRIMARY KEY", "scope, key"},
	{"idempotency_answers", "idempotency_answers_pkey", "PRIMARY KEY", "request_id"},
	{"payments", "payments_pkey", "PRIMARY KEY", "id"},
	{"refunds", "refunds_pkey", "PRIMARY KEY", "payment_id, id"},
	{"refunds", "refunds_one_per_key", "UNIQUE", "idempotency_key"},
	{"payment_references", "payment_references_pkey", "PRIMARY KEY", "reference"},
	{"accounts", "accounts_pkey", "PRIMARY KEY", "id"},
	{"entries", "entries_pkey", "PRIMARY KEY", "account_id, sequence"},
}

// The triggers that it relies on.
var triggers = []struct{ table, name string }{
	{"idempotency_keys", "idempotency_keys_kept"},
	{"idempotency_keys", "idempotency_keys_immutable"},
	{"payments", "payments_claimed_by_key"},
	{"payments", "payments_transition_legal"},
	{"accounts", "accounts_closed_for_good"},
	{"refunds", "refunds_claimed_by_key"},
	{"entries", "entries_balanced"},
	{"entries", "entries_immutable"},
}

// FAULTS 30.
func TestASchemaWithoutOneOfItsConstraintsIsRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	admin := connect(t, db.AdminURL)
	for _, fault := range []struct{ name, change string }{
		{"dropped", `ALTER TABLE %[1]s DROP CONSTRAINT %[2]s CASCADE`},
		{"forgets the merchant", `ALTER TABLE %[1]s DROP CONSTRAINT %[2]s CASCADE, ADD CONSTRAINT %[2]s %[4]s (%[3]s)`},
		{"checked at COMMIT only", `ALTER TABLE %[1]s DROP CONSTRAINT %[2]s CASCADE,
			ADD CONSTRAINT %[2]s %[4]s (merchant_id, %[3]s) DEFERRABLE INITIALLY DEFERRED`},
		{"only an index", `ALTER TABLE %[1]s DROP CONSTRAINT %[2]s CASCADE; CREATE INDEX %[2]s ON %[1]s (merchant_id, %[3]s)`},
		{"an invalid index", `UPDATE pg_index SET indisvalid = false WHERE indexrelid = '%[2]s'::regclass`},
	} {
		for _, constraint := range constraints {
			t.Run(constraint.name+" "+fault.name, func(t *testing.T) {
				inVain(t, admin, func(tx pgx.Tx) {
					execute(t, tx, fmt.Sprintf(fault.change, constraint.table, constraint.name, constraint.columns, constraint.kind))
					wantUnfit(t, migrations.Check(t.Context(), tx), constraint.table+"."+constraint.name)
				})
			})
		}
	}
}

func TestASchemaWithoutOneOfItsTriggersIsRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for _, fault := range []struct{ name, change string }{
		{"dropped", `DROP TRIGGER %[2]s ON %[1]s`},
		{"disabled", `ALTER TABLE %[1]s DISABLE TRIGGER %[2]s`},
		{"disabled with all others", `ALTER TABLE %[1]s DISABLE TRIGGER USER`},
		{"for replicas only", `ALTER TABLE %[1]s ENABLE REPLICA TRIGGER %[2]s`},
	} {
		for _, trigger := range triggers {
			t.Run(trigger.name+" "+fault.name, func(t *testing.T) {
				inVain(t, db.Pool, func(tx pgx.Tx) {
					execute(t, tx, fmt.Sprintf(fault.change, trigger.table, trigger.name))
					wantUnfit(t, migrations.Check(t.Context(), tx), trigger.table+".")
				})
			})
		}
	}
}

// The checks without which money would be wrong. What the others refuse is refused by the code as well.
var checks = []struct{ table, name string }{
	{"idempotency_answers", "idempotency_answers_status_final"},
	{"payments", "payments_amount_range"},
	{"payments", "payments_captured_within_amount"},
	{"payments", "payments_refunded_within_captured"},
	{"payments", "payments_captured_when_succeeded"},
	{"payments", "payments_authorized_has_an_end"},
	{"refunds", "refunds_amount_range"},
	{"accounts", "accounts_held_not_negative"},
	{"accounts", "accounts_open_payments_not_negative"},
	{"accounts", "accounts_held_for_open_payments"},
	{"accounts", "accounts_closed_has_nothing_open"},
	{"accounts", "accounts_balance_above_floor"},
	{"entries", "entries_amount_not_zero"},
}

// FAULTS 30.
func TestASchemaWithoutOneOfItsChecksIsRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for _, fault := range []struct{ name, change string }{
		{"dropped", `ALTER TABLE %[1]s DROP CONSTRAINT %[2]s`},
		{"checks nothing", `ALTER TABLE %[1]s DROP CONSTRAINT %[2]s, ADD CONSTRAINT %[2]s CHECK (true)`},
		{"a trigger of that name", `ALTER TABLE %[1]s DROP CONSTRAINT %[2]s;
			CREATE TRIGGER %[2]s BEFORE UPDATE ON %[1]s FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()`},
	} {
		for _, check := range checks {
			t.Run(check.name+" "+fault.name, func(t *testing.T) {
				inVain(t, db.Pool, func(tx pgx.Tx) {
					execute(t, tx, fmt.Sprintf(fault.change, check.table, check.name))
					wantUnfit(t, migrations.Check(t.Context(), tx), check.table+"."+check.name)
				})
			})
		}
	}
}

// FAULTS 30: the trigger is there and enabled, and does something else.
func TestASchemaWhoseTriggersDoNotDoWhatTheMigrationsSayIsRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for name, change := range map[string]string{
		"an empty function":    `CREATE OR REPLACE FUNCTION %[1]s() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$`,
		"an empty one besides": `CREATE OR REPLACE FUNCTION audit.%[1]s() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$`,
	} {
		for _, trigger := range triggers {
			t.Run(trigger.name+" with "+name, func(t *testing.T) {
				inVain(t, db.Pool, func(tx pgx.Tx) {
					const of = ` FROM pg_trigger WHERE tgname = $1`
					function := column[string](t, tx, `SELECT tgfoid::regproc::text`+of, trigger.name)[0]
					definition := column[string](t, tx, `SELECT pg_get_triggerdef(oid)`+of, trigger.name)[0]
					execute(t, tx, fmt.Sprintf(change, function))
					if strings.Contains(change, "audit.") {
						execute(t, tx, fmt.Sprintf(`DROP TRIGGER %s ON %s`, trigger.name, trigger.table))
						execute(t, tx, strings.Replace(definition, "EXECUTE FUNCTION ", "EXECUTE FUNCTION audit.", 1))
					}
					wantUnfit(t, migrations.Check(t.Context(), tx), function+"()") // which may be the function of others as well
				})
			})
		}
	}
	for name, change := range map[string]string{
		"a condition": `CREATE TRIGGER entries_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
			FOR EACH STATEMENT WHEN (false) EXECUTE FUNCTION refuse_change()`,
		"an event less": `CREATE TRIGGER entries_immutable BEFORE UPDATE OR DELETE ON entries
			FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()`,
		"a column": `CREATE TRIGGER entries_immutable BEFORE UPDATE OF at OR DELETE OR TRUNCATE ON entries
			FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()`,
	} {
		t.Run("entries_immutable with "+name, func(t *testing.T) {
			inVain(t, db.Pool, func(tx pgx.Tx) {
				execute(t, tx, `DROP TRIGGER entries_immutable ON entries`)
				execute(t, tx, change)
				wantUnfit(t, migrations.Check(t.Context(), tx), "entries.entries_immutable")
			})
		})
	}
}

// A deploy migrates first: the older instances, which run until they are replaced, cannot know a function that is younger.
func TestANewerSchemaMayHaveOtherFunctions(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	inVain(t, db.Pool, func(tx pgx.Tx) {
		execute(t, tx, `CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
			$$BEGIN RAISE insufficient_privilege USING MESSAGE = 'in other words'; END$$`)
		wantUnfit(t, migrations.Check(t.Context(), tx), "refuse_change()")
		execute(t, tx, `UPDATE schema_migrations SET version = $1`, migrations.Latest+1)
		if err := migrations.Check(t.Context(), tx); err != nil {
			t.Error(err)
		}
	})
}

// A guard that a later migration adds is either looked at, and belongs in a table above, or nothing rests on it.
func TestEveryGuardOfTheSchemaIsLookedAtOrIsKnownNotToMatter(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	known := []string{
		"api_keys.api_keys_pkey", "api_keys.api_keys_secret_unique", "events.events_pkey", "idempotency_reaper.idempotency_reaper_pkey",
		"merchants.merchants_pkey", "schema_compatibility.schema_compatibility_pkey", "schema_migrations.schema_migrations_pkey",
	}
	for _, constraint := range constraints {
		known = append(known, constraint.table+"."+constraint.name)
	}
	for _, trigger := range triggers {
		known = append(known, trigger.table+"."+trigger.name)
	}
	slices.Sort(known)
	got := column[string](t, db.Pool, `
		SELECT conrelid::regclass || '.' || conname
		FROM pg_constraint WHERE contype IN ('p', 'u', 'x') AND connamespace = 'public'::regnamespace
		UNION ALL
		SELECT tgrelid::regclass || '.' || tgname
		FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
		WHERE NOT tgisinternal AND c.relnamespace = 'public'::regnamespace`)
	slices.Sort(got)
	if !slices.Equal(got, known) {
		t.Errorf("the schema has the guards\n%s\nand this test knows\n%s", strings.Join(got, "\n"), strings.Join(known, "\n"))
	}
}

// An instance does not stop being ready because somebody has locked a table: what its constraints were, they still are.
func TestALockedTableIsNotCalledUnfit(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	inVain(t, db.Pool, func(tx pgx.Tx) {
		execute(t, tx, `LOCK TABLE payments`)
		if err := migrations.Check(t.Context(), db.Pool); !errors.Is(err, migrations.ErrLocked) || errors.Is(err, migrations.ErrSchema) {
			t.Errorf("got %v, want %v", err, migrations.ErrLocked)
		}
	})
}
