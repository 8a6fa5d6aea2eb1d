package migrations_test

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/migrations"
)

// These are all rights of the service. A new one needs a decision.
func TestAppRoleMayDoThisAndNoMore(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	want := map[string]string{
		"accounts":               "SELECT INSERT", // and UPDATE of some columns
		"api_keys":               "SELECT INSERT",
		"entries":                "SELECT INSERT",
		"events":                 "SELECT INSERT DELETE",
		"event_horizons":         "SELECT INSERT UPDATE",
		"feed_cursors":           "SELECT INSERT UPDATE DELETE",
		"idempotency_answers":    "SELECT INSERT DELETE",
		"idempotency_keys":       "SELECT INSERT DELETE", // a trigger keeps committed claims
		"idempotency_pending":    "SELECT INSERT DELETE",
		"idempotency_reaper":     "SELECT UPDATE",
		"readiness_probe":        "INSERT TRUNCATE",
		"merchants":              "SELECT INSERT",
		"payment_references":     "SELECT INSERT UPDATE DELETE",
		"payments":               "SELECT INSERT", // and UPDATE of some columns
		"processor_attempts":     "SELECT INSERT", // and UPDATE of some columns
		"processor_events":       "SELECT INSERT DELETE",
		"processor_installation": "SELECT",
		"refunds":                "SELECT INSERT", // and UPDATE of some columns
		"schema_versions":        "SELECT",
		"webhook_attempts":       "SELECT INSERT DELETE",
		"webhook_deliveries":     "SELECT INSERT UPDATE DELETE",
		"webhook_endpoints":      "SELECT INSERT UPDATE DELETE",
	}
	for _, view := range auditViews(t, db) {
		want["audit."+view.name] = "SELECT"
	}
	got := map[string]string{}
	for _, line := range column[string](t, db.Pool, `
		SELECT c.oid::regclass || ': ' || coalesce(string_agg(privilege, ' ' ORDER BY number)
			FILTER (WHERE has_table_privilege('paymentsvc_app', c.oid, privilege)), 'nothing')
		FROM pg_class c
		CROSS JOIN unnest(ARRAY[
				'SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'])
			WITH ORDINALITY AS p (privilege, number)
		WHERE c.relnamespace IN ('public'::regnamespace, 'audit'::regnamespace)
			AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
		GROUP BY c.oid`) {
		table, privileges, _ := strings.Cut(line, ": ")
		got[table] = privileges
	}
	for table := range maps.Keys(got) {
		if got[table] != want[table] {
			t.Errorf("on %s: %s, want %s", table, got[table], want[table])
		}
	}
	for table := range want {
		if _, found := got[table]; !found {
			t.Errorf("there is no %s", table)
		}
	}
	columns := column[string](t, db.Pool, `
		SELECT attrelid::regclass || '.' || attname
		FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
		WHERE c.relnamespace IN ('public'::regnamespace, 'audit'::regnamespace)
			AND c.relkind IN ('r', 'p', 'v') AND attnum > 0
			AND NOT has_table_privilege('paymentsvc_app', attrelid, 'UPDATE')
			AND has_column_privilege('paymentsvc_app', attrelid, attnum, 'UPDATE')
		ORDER BY 1`)
	if !slices.Equal(columns, []string{
		"accounts.balance", "accounts.held", "accounts.last_entry_at", "accounts.last_sequence",
		"accounts.metadata", "accounts.name",
		"accounts.open_payments", "accounts.overdraft_limit", "accounts.status",
		"accounts.version",
		"api_keys.revoked_at",
		"payments.amount_captured", "payments.amount_refunded", "payments.amount_refunding",
		"payments.authorized_until", "payments.cancellation_reason", "payments.decline_code",
		"payments.description", "payments.metadata", "payments.pending_operation",
		"payments.status", "payments.version",
		"processor_attempts.decline_code", "processor_attempts.due_at",
		"processor_attempts.generation", "processor_attempts.intent_id",
		"processor_attempts.problem", "processor_attempts.settled_at",
		"processor_attempts.state", "processor_attempts.token", "processor_attempts.tries",
		"processor_installation.reconcile_differences",
		"processor_installation.reconcile_due_at", "processor_installation.reconciled_until",
		"refunds.decline_code", "refunds.status",
	}) {
		t.Errorf("it may change the single columns %v", columns)
	}
}

// Only the grants above give it rights.
func TestAppRoleHasOnlyGrantedRights(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	empty(t, db) // a copy of the template lacks the rights on the database itself
	up(t, db)
	for _, test := range []struct{ name, query string }{
		{"it may not log in, nor do anything to the cluster", `
			SELECT rolname FROM pg_roles
			WHERE rolname = 'paymentsvc_app'
				AND (rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication
					OR rolbypassrls)`},
		{"it is a member of no role", `
			SELECT roleid::regrole::text FROM pg_auth_members
			WHERE member = 'paymentsvc_app'::regrole`},
		{"it owns nothing", `
			SELECT classid::regclass || ' ' || objid FROM pg_shdepend
			WHERE refclassid = 'pg_authid'::regclass AND refobjid = 'paymentsvc_app'::regrole
				AND deptype = 'o'`},
		{"it may make nothing in any schema", `
			SELECT nspname::text FROM pg_namespace
			WHERE has_schema_privilege('paymentsvc_app', oid, 'CREATE')`},
		{"it may make nothing in the database, temporary or not", `
			SELECT privilege FROM unnest(ARRAY['CREATE', 'TEMPORARY']) AS privilege
			WHERE has_database_privilege('paymentsvc_app', current_database(), privilege)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := column[string](t, db.Pool, test.query); len(got) > 0 {
				t.Errorf("not so: %v", got)
			}
		})
	}
}

// The login owns the database, and may not make roles.
func TestLoginNeedsOnlyTheRoleAndIsToldSo(t *testing.T) {
	t.Parallel()
	db := pgtest.NewBroken(t)
	login := stranger(t, db)
	err := migrations.Up(t.Context(), login)
	if err == nil {
		t.Fatal("a login without the right migrated")
	}
	for _, part := range []string{
		"may not create or grant the role paymentsvc_app",
		"Let an administrator run: CREATE ROLE paymentsvc_app NOLOGIN;" +
			" GRANT paymentsvc_app TO stranger_",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q", part)
		}
	}
	if strings.Contains(err.Error(), "CREATE TABLE") {
		t.Errorf("the error buries that in the text of the migration: %.300s…", err)
	}

	u, err := url.Parse(login)
	if err != nil {
		t.Fatal(err)
	}
	name := pgx.Identifier{u.User.Username()}.Sanitize()
	execute(t, connect(t, db.AdminURL), `GRANT paymentsvc_app TO `+name)
	if err := migrations.Up(t.Context(), login); err != nil {
		t.Fatal(err)
	}
	owner := connect(t, login)
	execute(t, owner, `SET ROLE paymentsvc_app`)
	if err := check(t, owner); err != nil {
		t.Error(err)
	}
}

// stranger empties the database, and makes a login that may only fill it. It returns
// the URL of the login.
func stranger(t *testing.T, db *pgtest.DB) string {
	t.Helper()
	empty(t, db)
	admin := connect(t, db.AdminURL)
	database := column[string](t, admin, `SELECT current_database()::text`)[0]
	role := "stranger_" + database[len(database)-8:]
	name := pgx.Identifier{role}.Sanitize()
	execute(t, admin, `CREATE ROLE `+name+` LOGIN PASSWORD 'stranger';
		GRANT CREATE ON SCHEMA public TO `+name+`;
		GRANT CREATE ON DATABASE `+pgx.Identifier{database}.Sanitize()+` TO `+name)
	t.Cleanup(func() {
		_, err := admin.Exec(context.Background(), `DROP OWNED BY `+name+`; DROP ROLE `+name)
		if err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "stranger")
	return u.String()
}
