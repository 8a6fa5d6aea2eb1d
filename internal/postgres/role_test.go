package postgres_test

import (
	"context"
	"errors"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/migrations"
)

// An attacker may get the service to run a statement of his own (docs/security.md,
// "least privilege"). The migrations test lists all rights of the role. Here is one
// attempt of each kind, on a connection of the service. RESET ROLE is possible on it,
// if migrations and service share one login.
func TestTheServicesOwnConnectionsCannotUndoWhatProtectsTheBooks(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	// A copy of the template lacks the rights on the database itself. A deploy sets
	// them.
	if err := errors.Join(migrations.Down(t.Context(), db.URL, int(migrations.Latest)),
		migrations.Up(t.Context(), db.URL)); err != nil {
		t.Fatal(err)
	}
	pools := open(t, db.URL)
	const notAllowed = "42501"
	for _, statement := range []string{
		`UPDATE entries SET amount = 0`,
		`DELETE FROM payments`,
		`TRUNCATE idempotency_keys`,
		`CREATE TEMPORARY TABLE idempotency_keys (key text)`, // hides the real table
		`CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql
			AS 'BEGIN RETURN NULL; END'`,
		`ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_pkey`,
		`ALTER TABLE entries DISABLE TRIGGER entries_immutable`,
		`SET session_replication_role = replica`, // switches every trigger off
		`DROP TRIGGER entries_immutable ON entries`,
		`DROP SCHEMA audit CASCADE`,
		`LOCK TABLE entries`,
		`CREATE ROLE mine`,
		`COPY merchants TO PROGRAM 'cat'`,
		`SELECT pg_read_file('/etc/passwd')`,
	} {
		tx, err := pools.General.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, err = tx.Exec(t.Context(), statement)
		if code, _ := refusal(err); code != notAllowed {
			t.Errorf("%s: got %v, want a refusal with %s", statement, err, notAllowed)
		}
		if err := tx.Rollback(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}
