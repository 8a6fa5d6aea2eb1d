package migrations_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/wire"
	"github.com/paymentsvc/paymentsvc/migrations"
)

// A migration that is killed or refused leaves the old version or the new one. The next
// `migrate up` continues without help.

// killer kills the backend that executes the nth DDL command after the counter was set.
// A sequence keeps its count when the transaction rolls back.
const killer = `
CREATE SCHEMA killer;
CREATE SEQUENCE killer.commands MINVALUE 0;
CREATE TABLE killer.target (command bigint);
INSERT INTO killer.target VALUES (0);
CREATE FUNCTION killer.kill() RETURNS event_trigger SECURITY DEFINER LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('killer.commands') = (SELECT command FROM killer.target) THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
    END IF;
END
$$;
CREATE EVENT TRIGGER killer ON ddl_command_end EXECUTE FUNCTION killer.kill();
`

func TestMigrationsKilledAtAnyCommandGoOnByThemselves(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	want := describe(t, db.Pool)
	for _, direction := range []struct {
		name string
		move func() error
		last uint // version
	}{
		{"down", func() error { return migrations.Down(t.Context(), db.URL, 1) }, 0},
		{"up", func() error { return migrations.Up(t.Context(), db.URL) }, migrations.Latest},
	} {
		admin := connect(t, db.AdminURL)
		execute(t, admin, killer)
		killed := 0
		for command := 1; version(t, db) != direction.last; command *= 2 {
			if command > 100 {
				t.Fatalf("%s makes no progress from version %d", direction.name, version(t, db))
			}
			before := version(t, db)
			execute(t, admin, `UPDATE killer.target SET command = $1`, command)
			execute(t, admin, `SELECT setval('killer.commands', 0)`)
			err := direction.move()
			if err != nil && !isKill(err) {
				t.Fatalf("%s from version %d, after a kill: %v", direction.name, before, err)
			}
			if err != nil {
				killed++
			}
			if version(t, db) != before {
				command = 1 // the next migration, from its second command
			}
		}
		execute(t, admin, `DROP EVENT TRIGGER killer; DROP SCHEMA killer CASCADE`)
		if killed < int(migrations.Latest) {
			t.Errorf("%s was killed only %d times", direction.name, killed)
		}
	}
	wantSame(t, "migrated with interruptions", describe(t, db.Pool), want)
}

func version(t *testing.T, db *pgtest.DB) uint {
	t.Helper()
	version, err := migrations.Version(t.Context(), db.URL)
	if err != nil {
		t.Fatal(err)
	}
	return version
}

// isKill is true for the end of the connection, and false for a refused statement.
func isKill(err error) bool {
	const adminShutdown = "57P01"
	refused, ok := errors.AsType[*pgconn.PgError](err)
	return !ok || refused.Code == adminShutdown
}

func TestAnInterruptedCommitIsRecognisedAsDoneOrNotDone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		effect   wire.Effect
		up, down uint // the versions after it, from 0 and from Latest
	}{
		{"COMMIT is lost", wire.DropBefore, 0, migrations.Latest},
		{"its answer is lost", wire.LoseReply, 1, migrations.Latest - 1},
		{"the server ends with it", wire.FatalAfter("57P01"), 1, migrations.Latest - 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			want := describe(t, db.Pool)
			proxy := wire.Start(t, db.URL)
			interrupt := func(move func() error, want uint) {
				fault := proxy.On(wire.Commit(), test.effect)
				if err := move(); err == nil {
					t.Error("the interruption was not reported")
				}
				fault.Off()
				wantVersion(t, db, want)
			}
			url := proxy.URL()
			interrupt(func() error { return migrations.Down(t.Context(), url, 1) }, test.down)
			up(t, db)
			empty(t, db)
			interrupt(func() error { return migrations.Up(t.Context(), url) }, test.up)
			up(t, db)
			wantSame(t, "after the interruption", describe(t, db.Pool), want)
		})
	}
}

// The server does not notice at once that the process has ended. It continues the
// migration.
func TestNextProcessWaitsForAnOrphanedMigration(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	want := describe(t, db.Pool)
	empty(t, db)
	proxy := wire.Start(t, db.URL)
	orphan := proxy.On(wire.Commit(), wire.HoldBefore)
	ctx, kill := context.WithCancel(t.Context())
	killed := make(chan error, 1)
	go func() { killed <- migrations.Up(ctx, proxy.URL()) }()
	orphan.Wait(t)
	kill()
	if err := <-killed; err == nil {
		t.Error("the interruption was not reported")
	}
	done := make(chan error, 1)
	go func() { done <- migrations.Up(t.Context(), db.URL) }()
	awaitBlocked(t, db, 1, 0)
	orphan.Cut()
	if err := <-done; err != nil {
		t.Error(err)
	}
	wantSame(t, "after the orphan", describe(t, db.Pool), want)
}

func TestInstancesThatStartTogetherOnAnEmptyDatabaseMigrateItOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	want := describe(t, db.Pool)
	empty(t, db)
	const instances = 8
	start, results := make(chan struct{}), make(chan error, instances)
	for range instances {
		go func() {
			<-start
			results <- migrations.Up(t.Context(), db.URL)
		}()
	}
	close(start)
	for range instances {
		if err := <-results; err != nil {
			t.Errorf("an instance could not migrate: %v", err)
		}
	}
	wantVersion(t, db, migrations.Latest)
	wantSame(t, "migrated together", describe(t, db.Pool), want)
}

// A table of the operator blocks the way up, and a view blocks the way down.
func TestARefusedMigrationLeavesTheVersionAsItWas(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	execute(t, db.Pool, `CREATE VIEW mine AS SELECT id FROM payments`)
	err := migrations.Down(t.Context(), db.URL, int(migrations.Latest))
	if err == nil || !strings.Contains(err.Error(), "depend") {
		t.Errorf("migrating down: %v, want a refusal because of the view", err)
	}
	wantVersion(t, db, 4) // two of the steps were taken
	execute(t, db.Pool, `DROP VIEW mine; CREATE TABLE events ()`)
	before := describe(t, db.Pool)
	err = migrations.Up(t.Context(), db.URL)
	if err == nil || !strings.Contains(err.Error(), `"events" already exists`) {
		t.Errorf("migrating up: %v, want a refusal because of the table", err)
	}
	wantVersion(t, db, 4)
	wantSame(t, "after the refusal", describe(t, db.Pool), before)
	execute(t, db.Pool, `DROP TABLE events`)
	up(t, db)
	wantVersion(t, db, migrations.Latest)
}

// Every charge would wait behind a migration that waits for a table. So the migration
// gives up.
func TestAMigrationDoesNotWaitLongForATable(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	dump := connect(t, db.URL)
	execute(t, dump, `BEGIN; LOCK TABLE events IN ACCESS SHARE MODE`) // as pg_dump does
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := migrations.Down(ctx, db.URL+"&lock_timeout=50ms", 4)
	if err == nil || !strings.Contains(err.Error(), "lock timeout") {
		t.Errorf("migrating down: %v, want a lock timeout", err)
	}
	wantVersion(t, db, migrations.Latest-3)
	execute(t, dump, `COMMIT`)
	down(t, db, 1)
	up(t, db)
	wantVersion(t, db, migrations.Latest)
}

// lockMigrations takes the lock that a migration holds.
const lockMigrations = `SELECT pg_advisory_lock(hashtextextended('paymentsvc migrations', 0))`

// A migration waits for that of another instance until its context ends, whatever the
// timeout of a lock is. The version is read after the wait.
func TestNewerSchemaIsLeftAlone(t *testing.T) {
	t.Parallel()
	db := pgtest.NewBroken(t) // without the views of the audit
	down(t, db, 1)
	newer := connect(t, db.URL)
	execute(t, newer, lockMigrations)
	done := make(chan error, 1)
	go func() { done <- migrations.Up(t.Context(), db.URL+"&lock_timeout=50ms") }()
	awaitBlocked(t, db, 1, 200*time.Millisecond)
	execute(t, newer, `INSERT INTO schema_versions (version) VALUES ($1)`, migrations.Latest+1)
	execute(t, newer, `SELECT pg_advisory_unlock_all()`)
	if err := <-done; err != nil {
		t.Error(err)
	}
	wantVersion(t, db, migrations.Latest+1)
}
