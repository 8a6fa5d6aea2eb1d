package postgres_test

import (
	"context"
	"errors"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/migrations"
)

// SECURITY 39 and 40: what somebody cannot do who gets the service to run a statement
// of his own. (With one login for everything he could RESET ROLE first; with an owner's
// login of its own for migrations there is nothing to go back to.) A late loser rewrote
// a completed request as failed, by an upsert: Truxify 9954 (BUGS 17). Here nobody may.
func TestTheServicesOwnConnectionsCannotUndoWhatProtectsTheBooks(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	// The rights on the database itself are not in a copy of the template: make them as
	// a deploy does.
	if err := errors.Join(migrations.Down(t.Context(), db.URL, int(migrations.Latest)),
		migrations.Up(t.Context(), db.URL)); err != nil {
		t.Fatal(err)
	}
	pools := open(t, db.URL)
	const notAllowed = "42501"
	for _, statement := range []string{
		`UPDATE entries SET amount = 0`,
		`DELETE FROM entries`,
		`TRUNCATE entries`,
		`UPDATE idempotency_keys SET payment_id = gen_random_uuid()`,
		`TRUNCATE idempotency_keys`,
		`UPDATE idempotency_answers SET status = 201`,
		`UPDATE events SET type = 'payment.declined'`,
		`DELETE FROM events`,
		`DELETE FROM payments`,
		`DELETE FROM accounts`,
		`DELETE FROM merchants`,
		`DELETE FROM idempotency_reaper`,
		`UPDATE api_keys SET secret_sha256 = sha256('mine')`,
		`UPDATE schema_versions SET breaks_older_builds = false`,
		`INSERT INTO schema_versions (version) VALUES (99)`,
		`MERGE INTO entries USING merchants ON false WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN DO NOTHING`,

		`CREATE TABLE mine (id int)`,
		// which would stand in front of the real one
		`CREATE TEMPORARY TABLE idempotency_keys (key text)`,
		`CREATE SCHEMA mine`,
		`CREATE VIEW audit.i1_journals_balance_too AS SELECT 1`,
		`CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
		`CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`,
		`CREATE TRIGGER mine BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION refuse_change()`,
		`CREATE INDEX ON entries (at)`,
		`CREATE ROLE mine`,
		`CREATE EXTENSION pg_trgm`,

		`ALTER TABLE entries DISABLE TRIGGER entries_immutable`,
		`ALTER TABLE entries DISABLE TRIGGER entries_balanced`,
		`ALTER TABLE idempotency_keys DISABLE TRIGGER ALL`,
		`ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_pkey`,
		`ALTER TABLE accounts DROP CONSTRAINT accounts_balance_above_floor`,
		`ALTER TABLE entries ADD COLUMN note text`,
		`ALTER TABLE entries OWNER TO paymentsvc_app`,
		`ALTER FUNCTION refuse_change() RENAME TO mine`,
		`ALTER ROLE paymentsvc_app LOGIN`,
		`SET session_replication_role = replica`, // which would switch every trigger off

		`DROP TRIGGER entries_immutable ON entries`,
		`DROP TRIGGER entries_balanced ON entries`,
		`DROP TABLE entries`,
		`DROP FUNCTION refuse_change() CASCADE`,
		`DROP SCHEMA audit CASCADE`,
		`DROP INDEX api_keys_secret_unique`,
		`REINDEX TABLE entries`,
		`LOCK TABLE entries`,

		`COPY merchants TO PROGRAM 'cat'`,
		`COPY merchants FROM '/etc/passwd'`,
		`SELECT pg_read_file('/etc/passwd')`,
	} {
		t.Run(statement, func(t *testing.T) {
			tx, err := pools.General.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback(context.Background())
			_, err = tx.Exec(t.Context(), statement)
			if code, _ := refusal(err); code != notAllowed {
				t.Errorf("got %v, want a refusal with %s", err, notAllowed)
			}
		})
	}
}
