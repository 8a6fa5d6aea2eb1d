package migrations_test

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/golang-migrate/migrate/v4/database"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/migrations"
)

// up and down move a database, and must succeed.
func up(t *testing.T, db *pgtest.DB) {
	t.Helper()
	if err := migrations.Up(t.Context(), db.URL); err != nil {
		t.Fatal(err)
	}
}

func down(t *testing.T, db *pgtest.DB, steps int) {
	t.Helper()
	if err := migrations.Down(t.Context(), db.URL, steps); err != nil {
		t.Fatal(err)
	}
}

// wantVersion expects a version, and whether the migration to it was interrupted.
func wantVersion(t *testing.T, db *pgtest.DB, want uint, wantDirty bool) {
	t.Helper()
	version, dirty, err := migrations.Version(t.Context(), db.URL)
	if err != nil || version != want || dirty != wantDirty {
		t.Errorf("version %d, interrupted %t (%v); want %d, %t", version, dirty, err, want, wantDirty)
	}
}

// empty takes everything back, and golang-migrate's own table too.
func empty(t *testing.T, db *pgtest.DB) {
	t.Helper()
	down(t, db, int(migrations.Latest))
	execute(t, db.Pool, `DROP TABLE schema_migrations`)
}

func TestEveryStepDownAndUpAgainLeavesTheSameSchema(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	whole := describe(t, db.Pool)
	for steps := 1; steps <= int(migrations.Latest); steps++ {
		down(t, db, steps)
		wantVersion(t, db, migrations.Latest-uint(steps), false)
		before := describe(t, db.Pool)
		if slices.Equal(before, whole) {
			t.Errorf("%d steps down took nothing back", steps)
		}
		up(t, db)
		wantVersion(t, db, migrations.Latest, false)
		wantSame(t, "up again", describe(t, db.Pool), whole)
		down(t, db, steps)
		wantSame(t, "down again", describe(t, db.Pool), before)
		up(t, db)
	}
}

func TestTakingEverythingBackLeavesNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	down(t, db, int(migrations.Latest))
	for _, line := range describe(t, db.Pool) {
		if !strings.Contains(line, "schema_migrations") && !strings.HasPrefix(line, "schema public") {
			t.Errorf("left behind: %s", line)
		}
	}
	wantVersion(t, db, 0, false)
	up(t, db)
}

func TestTheRowsThatTheSchemaBeginsWithComeBack(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	down(t, db, int(migrations.Latest))
	up(t, db)
	got := column[string](t, db.Pool, `
		SELECT needs_version || ' ' || answers_before FROM schema_compatibility, idempotency_reaper`)
	if !slices.Equal(got, []string{"1 -infinity"}) {
		t.Errorf("the schema begins with %q", got)
	}
}

func TestAStepDownKeepsWhatTheOlderSchemaCanHold(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db.Pool)
	down(t, db, 1)
	up(t, db) // and the audit after the test finds everything in order
	if got := column[int64](t, db.Pool, `SELECT count(*) FROM payments`); got[0] != 1 {
		t.Errorf("%d payments are left, want 1", got[0])
	}
}

func TestDownAsksHowFar(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for _, steps := range []int{0, -1} {
		if err := migrations.Down(t.Context(), db.URL, steps); err == nil {
			t.Errorf("%d steps down were taken", steps)
		}
	}
	wantVersion(t, db, migrations.Latest, false)
}

// FAULTS 29.
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
	wantVersion(t, db, migrations.Latest, false)
	wantSame(t, "migrated together", describe(t, db.Pool), want)
}

// A rolling deploy: the newer release migrates while an instance of this one starts.
func TestASchemaOfANewerReleaseIsLeftAlone(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	execute(t, db.Pool, `UPDATE schema_migrations SET version = $1`, migrations.Latest+1)
	want := describe(t, db.Pool)
	up(t, db)
	wantVersion(t, db, migrations.Latest+1, false)
	wantSame(t, "a newer schema", describe(t, db.Pool), want)
}

// The same, when this release has looked at the version already and waits for the newer one's lock.
func TestASchemaThatIsMadeNewerJustNowIsLeftAlone(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	newer, table := connect(t, db.URL), connect(t, db.URL)
	execute(t, table, `BEGIN; LOCK TABLE schema_migrations`)
	done := make(chan error, 1)
	go func() { done <- migrations.Up(t.Context(), db.URL) }()
	awaitBlocked(t, db, 1) // it asks for the version
	lockMigrations(t, newer)
	execute(t, table, `COMMIT`)
	await(t, "it waits for the newer release", func() bool {
		return column[bool](t, db.Pool, `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`)[0]
	})
	execute(t, newer, `UPDATE schema_migrations SET version = $1`, migrations.Latest+1)
	execute(t, newer, `SELECT pg_advisory_unlock_all()`)
	if err := <-done; err != nil {
		t.Errorf("migrating: %v", err)
	}
}

// lockMigrations takes the lock that golang-migrate takes.
func lockMigrations(t *testing.T, db querier) {
	t.Helper()
	id, err := database.GenerateAdvisoryLockId(column[string](t, db, `SELECT current_database()::text`)[0], "public", "schema_migrations")
	if err != nil {
		t.Fatal(err)
	}
	execute(t, db, `SELECT pg_advisory_lock($1::text::bigint)`, id)
}

// A migration that fails half-way: an obstacle is put in the way of version 3.
func TestAMigrationThatFailsLeavesNothingAndForceIsTheWayOut(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	down(t, db, int(migrations.Latest)-2)
	execute(t, db.Pool, `CREATE TABLE events ()`)
	before := describe(t, db.Pool)
	if err := migrations.Up(t.Context(), db.URL); err == nil || !strings.Contains(err.Error(), `"events" already exists`) {
		t.Fatalf("migrating: %v, want the obstacle", err)
	}
	wantSame(t, "after the failure", describe(t, db.Pool), before)
	wantVersion(t, db, 3, true)

	execute(t, db.Pool, `DROP TABLE events`)
	if err := migrations.Up(t.Context(), db.URL); err == nil || !strings.Contains(err.Error(), "force") {
		t.Errorf("migrating what was interrupted: %v, want to be told of force", err)
	}
	if err := migrations.Force(t.Context(), db.URL, 2); err != nil {
		t.Fatal(err)
	}
	wantVersion(t, db, 2, false)
	up(t, db)
	wantVersion(t, db, migrations.Latest, false)
}

// Version 0 is what Version says of an empty database, so it is what an operator forces after the very first one failed.
func TestForceToZeroMeansAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	down(t, db, int(migrations.Latest))
	execute(t, db.Pool, `CREATE TABLE merchants ()`)
	if err := migrations.Up(t.Context(), db.URL); err == nil {
		t.Fatal("the obstacle did not hinder")
	}
	execute(t, db.Pool, `DROP TABLE merchants`)
	if err := migrations.Force(t.Context(), db.URL, 0); err != nil {
		t.Fatal(err)
	}
	wantVersion(t, db, 0, false)
	up(t, db)
}

func TestAnUnreachableDatabaseIsCalledThatAndNoPasswordIsTold(t *testing.T) {
	t.Parallel()
	url := "postgres://owner:canary@" + closedPort(t) + "/paymentsvc?sslmode=disable&connect_timeout=1"
	for name, try := range map[string]func() error{
		"up":      func() error { return migrations.Up(t.Context(), url) },
		"down":    func() error { return migrations.Down(t.Context(), url, 1) },
		"force":   func() error { return migrations.Force(t.Context(), url, 1) },
		"version": func() error { _, _, err := migrations.Version(t.Context(), url); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := try()
			if !errors.Is(err, migrations.ErrUnreachable) {
				t.Errorf("got %v, want %v", err, migrations.ErrUnreachable)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the password is in the error: %v", err)
			}
		})
	}
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
