package migrations_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// The mode is switched on for a database that has a schema, as by an operator.
func TestShardedModeHasGuardsOfItsOwn(t *testing.T) {
	t.Parallel()
	db := pgtest.NewBroken(t)
	unprepared := connect(t, db.URL)
	execute(t, unprepared, `SET paymentsvc.sharded = 'on'`)
	wantUnfit(t, check(t, unprepared), "events_numbered")
	db.Shard(t)
	db.Shard(t) // once is enough, and twice does no harm
	sharded := connect(t, db.URL)
	if err := check(t, sharded); err != nil {
		t.Error(err)
	}
	var numbered bool
	err := sharded.QueryRow(t.Context(), `
		INSERT INTO events (merchant_id, transaction_id, id, type, payment_id, payment_version,
			data, created_at)
		VALUES (1, '1', gen_random_uuid(), 'payment.succeeded', gen_random_uuid(), 1, '{}', now())
		RETURNING transaction_id = pg_current_xact_id()`).Scan(&numbered)
	if err != nil || !numbered {
		t.Errorf("the node has numbered the event: %t, %v", numbered, err)
	}
	execute(t, sharded, `DROP TRIGGER events_numbered ON events`)
	wantUnfit(t, check(t, sharded), "events_numbered")
}

// Two triggers are missing in sharded mode. The audit finds the rows that they refuse.
func TestAuditFindsWhatShardedModeDoesNotRefuse(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Shard(t)
	execute(t, db.Pool, books)
	attempts := 0
	for _, refusal := range refusals {
		if refusal.by != "payments_claimed_by_key" && refusal.by != "refunds_claimed_by_key" {
			continue
		}
		for _, attempt := range refusal.attempts {
			attempts++
			asApplication(t, db, func(tx pgx.Tx) {
				wantRefused(t, tx, attempt, "")
				var found int
				if err := tx.QueryRow(t.Context(),
					`SELECT count(*) FROM audit.i5_one_payment_per_key`,
				).Scan(&found); err != nil || found == 0 {
					t.Errorf("%s: the audit finds %d violations, %v", attempt, found, err)
				}
			})
		}
	}
	if attempts == 0 {
		t.Error("there are no attempts, so this shows nothing")
	}
}

// There is no Citus here, so its functions only note what they are asked for. Each table
// with a merchant has to be distributed, or has to be on every node.
func TestCitusGetsEveryTableOfAMerchant(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	script, err := os.ReadFile("citus.sql")
	if err != nil {
		t.Fatal(err)
	}
	conn := connect(t, db.AdminURL)
	rolledBack(t, conn, func(tx pgx.Tx) {
		execute(t, tx, `
			CREATE TEMPORARY TABLE asked (name regclass, by text);
			CREATE FUNCTION create_reference_table(name text) RETURNS void LANGUAGE sql AS
				'INSERT INTO pg_temp.asked VALUES (name::regclass, NULL)';
			CREATE FUNCTION create_distributed_table(name text, by text, colocate_with text = '')
				RETURNS void LANGUAGE sql AS
				'INSERT INTO pg_temp.asked VALUES (name::regclass, by)';
			CREATE FUNCTION create_distributed_function(name regprocedure) RETURNS void
				LANGUAGE sql AS ''`)
		execute(t, tx, `SET LOCAL citus.enable_unsafe_triggers = on`)
		execute(t, tx, string(script))
		var wrong []string
		if err := tx.QueryRow(context.Background(), `
			SELECT coalesce(array_agg(t.name::text), '{}')
			FROM (
				SELECT c.oid::regclass AS name, EXISTS (
					SELECT FROM pg_attribute a
					WHERE a.attrelid = c.oid AND a.attname = 'merchant_id') AS of_merchant
				FROM pg_class c
				WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r') AS t
			LEFT JOIN pg_temp.asked ON asked.name = t.name
			WHERE CASE
				WHEN t.name IN ('merchants'::regclass, 'api_keys'::regclass)
					THEN asked.name IS NULL OR asked.by IS NOT NULL
				WHEN t.of_merchant THEN asked.by IS DISTINCT FROM 'merchant_id'
				ELSE asked.name IS NOT NULL
			END`).Scan(&wrong); err != nil || len(wrong) > 0 {
			t.Errorf("not distributed as they should be: %v, %v", wrong, err)
		}
	})
}

// Without this setting Citus refuses the tables, and says nothing of the remedy.
func TestCitusNeedsTriggers(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	script, err := os.ReadFile("citus.sql")
	if err != nil {
		t.Fatal(err)
	}
	rolledBack(t, db.Pool, func(tx pgx.Tx) {
		execute(t, tx, `SET LOCAL citus.enable_unsafe_triggers = off`)
		_, err := tx.Exec(t.Context(), string(script))
		refused, _ := errors.AsType[*pgconn.PgError](err)
		if refused == nil || !strings.Contains(refused.Hint, "enable_unsafe_triggers = on") {
			t.Errorf("it came to %v", err)
		}
	})
}
