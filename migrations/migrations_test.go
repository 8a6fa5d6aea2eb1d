package migrations_test

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/migrations"
)

func TestEveryStepDownAndUpAgainLeavesTheSameSchema(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	whole := describe(t, db.Pool)
	for steps := 1; steps <= int(migrations.Latest); steps++ {
		down(t, db, steps)
		wantVersion(t, db, migrations.Latest-uint(steps))
		before := describe(t, db.Pool)
		if slices.Equal(before, whole) {
			t.Errorf("%d steps down took nothing back", steps)
		}
		up(t, db)
		wantVersion(t, db, migrations.Latest)
		wantSame(t, "up again", describe(t, db.Pool), whole)
		down(t, db, steps)
		wantSame(t, "down again", describe(t, db.Pool), before)
		if steps == int(migrations.Latest) {
			wantNothing(t, before)
		}
		up(t, db)
	}
	got := column[string](t, db.Pool, `SELECT answers_before::text FROM idempotency_reaper`)
	if !slices.Equal(got, []string{"-infinity"}) {
		t.Errorf("the mark of the reaper begins with %q", got)
	}
}

func wantNothing(t *testing.T, description []string) {
	t.Helper()
	for _, line := range description {
		if !strings.HasPrefix(line, "schema public") || strings.Contains(line, "paymentsvc_app") {
			t.Errorf("left behind: %s", line)
		}
	}
}

func TestDownAndForceRefuseANumberThatMakesNoSense(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for _, number := range []int{0, -1, 99} {
		if err := migrations.Down(t.Context(), db.URL, number); err == nil && number < 1 {
			t.Errorf("%d steps down were taken", number)
		}
		up(t, db)
		if err := migrations.Force(t.Context(), db.URL, number); err == nil {
			t.Errorf("version %d was recorded", number)
		}
	}
	wantVersion(t, db, migrations.Latest)
	for _, version := range []uint{2, migrations.Latest} {
		if err := migrations.Force(t.Context(), db.URL, int(version)); err != nil {
			t.Fatal(err)
		}
		wantVersion(t, db, version)
	}
}

// The own table of golang-migrate marks such a database.
func TestADatabaseOfADevelopmentVersionIsRefusedInOneSentence(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	empty(t, db)
	execute(t, db.Pool, `
		CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL);
		INSERT INTO schema_migrations VALUES (6, false)`)
	for name, try := range map[string]func() error{
		"up":      func() error { return migrations.Up(t.Context(), db.URL) },
		"down":    func() error { return migrations.Down(t.Context(), db.URL, 1) },
		"version": func() error { _, err := migrations.Version(t.Context(), db.URL); return err },
		"check":   func() error { return new(migrations.Checker).Check(t.Context(), db.Pool) },
	} {
		if err := try(); !errors.Is(err, migrations.ErrOldSchema) {
			t.Errorf("%s: %v, want %v", name, err, migrations.ErrOldSchema)
		}
	}
	execute(t, db.Pool, `DROP TABLE schema_migrations`)
	up(t, db)
}

func TestAnUnreachableDatabaseIsCalledThatAndNoPasswordIsTold(t *testing.T) {
	t.Parallel()
	url := "postgres://owner:canary@" + closedPort(t) + "/paymentsvc?sslmode=disable"
	for name, try := range map[string]func() error{
		"up":      func() error { return migrations.Up(t.Context(), url) },
		"down":    func() error { return migrations.Down(t.Context(), url, 1) },
		"force":   func() error { return migrations.Force(t.Context(), url, 1) },
		"version": func() error { _, err := migrations.Version(t.Context(), url); return err },
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

// closedPort is an address without a listener.
func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
