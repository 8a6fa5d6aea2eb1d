package postgres_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

func TestServerThatMayLoseCommitsIsRefused(t *testing.T) {
	t.Parallel()
	c := pgtest.Durable(t, nil)
	admin := superuser(t, c.AdminURL())
	for _, test := range []struct {
		name   string
		change string // for every connection that is made from now on
		reason string // "": it is durable
	}{
		{"nothing was set", ``, ""},
		{
			"COMMIT does not wait for the disk",
			`ALTER DATABASE paymentsvc SET synchronous_commit = off`, "synchronous_commit is off",
		},
		{
			"COMMIT waits for no standby",
			`ALTER DATABASE paymentsvc SET synchronous_commit = local`,
			"synchronous_commit is local",
		},
		{
			"COMMIT waits for no standby's disk",
			`ALTER DATABASE paymentsvc SET synchronous_commit = remote_write`,
			"synchronous_commit is remote_write",
		},
		{
			"COMMIT waits for more than the disk",
			`ALTER DATABASE paymentsvc SET synchronous_commit = remote_apply`, "",
		},
		{"all is as it was", `ALTER DATABASE paymentsvc RESET synchronous_commit`, ""},
		{
			"the login's COMMIT does not wait", alterLogin("SET synchronous_commit = off"),
			"synchronous_commit is off",
		},
		{"all is as it was again", alterLogin("RESET synchronous_commit"), ""},
		{"the disk is not waited for", `ALTER SYSTEM SET fsync = off`, "fsync is off"},
		{"the disk is waited for again", `ALTER SYSTEM RESET fsync`, ""},
		{
			"a torn page cannot be mended", `ALTER SYSTEM SET full_page_writes = off`,
			"full_page_writes is off",
		},
		{"it can be mended again", `ALTER SYSTEM RESET full_page_writes`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			execute(t, admin, test.change)
			execute(t, admin, `SELECT pg_reload_conf()`)
			var err error
			await.Until(t, 10*time.Second, "the settings are in force", func() bool {
				pools := open(t, c.URL())
				defer pools.Close()
				err = pools.CheckDurability(t.Context())
				return (err == nil) == (test.reason == "")
			})
			if test.reason != "" &&
				(!errors.Is(err, postgres.ErrNotDurable) ||
					!strings.Contains(err.Error(), test.reason)) {
				t.Errorf("got %v, want %v: %s", err, postgres.ErrNotDurable, test.reason)
			}
		})
	}
}

// alterLogin changes the login of the service, which owns the database.
func alterLogin(what string) string {
	return `
		DO $$ BEGIN
			EXECUTE format('ALTER ROLE %s ` + what + `', (
				SELECT datdba::regrole FROM pg_database WHERE datname = current_database()));
		END $$`
}

// An open connection finds it, and so does a new one.
func TestAReadOnlyDatabaseIsCalledThat(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	before := open(t, db.URL)
	if err := before.CheckWritable(t.Context()); err != nil {
		t.Fatal(err)
	}
	// as a reload of the server's settings would
	execute(t, before.Probe, `SET default_transaction_read_only = on`)
	if err := before.CheckWritable(t.Context()); !errors.Is(err, postgres.ErrReadOnly) {
		t.Errorf("on a connection that was there already: %v, want %v", err, postgres.ErrReadOnly)
	}
	configure(t, db.Pool, "default_transaction_read_only", "on")
	if err := open(t, db.URL).CheckWritable(t.Context()); !errors.Is(err, postgres.ErrReadOnly) {
		t.Errorf("on a new connection: %v, want %v", err, postgres.ErrReadOnly)
	}
}

func TestUnreachableDatabaseIsUnavailable(t *testing.T) {
	t.Parallel()
	pools := open(t, "postgres://nobody@127.0.0.1:1/nothing?sslmode=disable")
	err := errors.Join(pools.CheckWritable(t.Context()), pools.CheckDurability(t.Context()))
	if !postgres.Unavailable(err) || errors.Is(err, postgres.ErrReadOnly) ||
		errors.Is(err, postgres.ErrNotDurable) {
		t.Errorf("got %v", err)
	}
}
