package torture

import (
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/service"
	"github.com/paymentsvc/paymentsvc/migrations"
)

// Not even the role that the service works as is there before.
func TestInstancesThatStartAtOnceOnAnEmptyServerMigrateItOnce(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Durable(t, map[string]string{"log_statement": "ddl"})
	emptyServer(t, cluster)
	before := migrationsLogged(t, cluster)
	var instances []*service.Instance
	for range 8 {
		instances = append(instances, service.Serve(t, cluster.URL()))
	}
	for _, in := range instances {
		in.AwaitReady(readyAgainTime)
	}
	if n := migrationsLogged(t, cluster) - before; n != 1 {
		t.Errorf("the schema was made %d times", n)
	}
	b := &bench{T: t, url: cluster.URL(), adminURL: cluster.AdminURL()}
	if n := b.number(`SELECT max(version) FROM schema_versions`); n != int(migrations.Latest) {
		t.Errorf("the schema has version %d, want %d", n, migrations.Latest)
	}
	b.merchant = journal.NewMerchant(t, instances[0], cluster.URL())
	var answers []journal.Answer
	for _, in := range instances {
		answers = append(answers, b.merchant.Charge(t.Context(), in.URL(), key(0), journal.NewCharge(100)))
	}
	b.chargedOnce(key(0), answers...)
}

// emptyServer takes back what pgtest has prepared, and leaves an empty database and its owner.
func emptyServer(t *testing.T, cluster *pgtest.Cluster) {
	t.Helper()
	config, err := pgx.ParseConfig(cluster.AdminURL())
	if err != nil {
		t.Fatal(err)
	}
	config.Database = "postgres"
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, statement := range []string{
		`DROP DATABASE paymentsvc`,
		`DROP ROLE paymentsvc_app`,
		`CREATE DATABASE paymentsvc OWNER ` + owner(t, cluster.URL()),
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

func migrationsLogged(t *testing.T, cluster *pgtest.Cluster) int {
	t.Helper()
	log, err := os.ReadFile(cluster.LogPath())
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(log), "CREATE TABLE idempotency_keys (")
}

// What "exactly once" rests on is missing or is another thing under the same name.
func TestInstanceRefusesASchemaThatCannotKeepItsPromises(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, breakage, reason string }{
		{"no unique key", `ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_pkey`, "idempotency_keys_pkey"},
		{"a key that is unique for all merchants", `ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_pkey,
			ADD CONSTRAINT idempotency_keys_pkey UNIQUE (scope, key)`, "idempotency_keys_pkey"},
		{"a key that is unique at the end only", `ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_pkey,
			ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (merchant_id, scope, key) DEFERRABLE`, "idempotency_keys_pkey"},
		{"no gap-free entries", `ALTER TABLE entries DROP CONSTRAINT entries_pkey`, "entries_pkey"},
		{"a trigger that is off", `ALTER TABLE idempotency_keys DISABLE TRIGGER idempotency_keys_kept`, "idempotency_keys_kept"},
		{"a trigger for replicas only", `ALTER TABLE payments ENABLE REPLICA TRIGGER payments_claimed_by_key`, "payments_claimed_by_key"},
		{"no trigger", `DROP TRIGGER entries_immutable ON entries`, "entries_immutable"},
		{"a trigger that does nothing", `CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
			$$BEGIN RETURN NULL; END$$`, "refuse_change"},
		{"no floor", `ALTER TABLE accounts DROP CONSTRAINT accounts_balance_above_floor`, "accounts_balance_above_floor"},
		{"a newer schema that needs newer builds", `INSERT INTO schema_versions (version, breaks_older_builds)
			VALUES (99, true)`, "needs a build that knows 99"},
	} {
		t.Run(row.name, func(t *testing.T) {
			db := pgtest.NewBroken(t)
			if _, err := db.Pool.Exec(t.Context(), row.breakage, pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatal(err)
			}
			refused(t, []string{"DATABASE_URL=" + db.URL, service.AllowDataLoss}, row.reason)
		})
	}
}

// A deploy migrates first and replaces the instances after, so an older build meets a newer schema.
func TestInstanceAcceptsANewerSchemaThatItCanLiveWith(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	b.exec(`INSERT INTO schema_versions (version) VALUES (99)`)
	in := service.Start(t, b.url, service.AllowDataLoss)
	b.chargedOnce(key(0), b.merchant.Charge(t.Context(), in.URL(), key(0), journal.NewCharge(100)), b.charge(0, key(0)))
}
