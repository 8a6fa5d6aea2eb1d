package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// What each of the server's errors means for the transaction that meets it, before any
// COMMIT. The codes are from the PostgreSQL manual, appendix A.
func TestServerErrorDecidesWhetherUnitRunsAgain(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	pools := open(t, db.URL)
	const (
		again     = "it runs again"
		elsewhere = "it runs again on another connection"
		refused   = "it is refused"
	)
	for _, test := range []struct{ code, name, want string }{
		{"40001", "a serialization failure", again},
		{"40P01", "a deadlock", again},
		{"0A000", "a cached plan that a migration made invalid", again},

		{"55P03", "a lock that was not to be had in time", again},
		{"57014", "a statement that took too long", elsewhere},
		{"57P01", "a server that shuts down", elsewhere},
		{"25006", "a standby", elsewhere},
		{"25P03", "a transaction that was idle for too long", elsewhere},
		{"53100", "a full disk", elsewhere},
		{"53300", "no connection left", elsewhere},
		{"58030", "a disk that fails", elsewhere},
		{"08006", "a lost connection", elsewhere},
		{"3D000", "a database that is not there yet", elsewhere},

		{"22003", "a number out of range", refused},
		{"23505", "a row that is there already", refused},
		{"23514", "a rule that is broken", refused},
		{"42501", "a right that is missing", refused},
		{"42601", "a statement that cannot be read", refused},
		{"XX000", "a bug in the server", refused},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := backendOf(t, db, pools.Money)
			runs := 0
			err := run(t, newCommitter(pools), func(ctx context.Context, tx *postgres.Tx) error {
				if runs++; runs == 1 {
					return send(ctx, tx, `DO $$ BEGIN
						RAISE EXCEPTION 'injected' USING ERRCODE = '`+test.code+`'; END $$`)
				}
				return makeNothing(ctx, tx)
			})
			got := refused
			switch after := backendOf(t, db, pools.Money); {
			case err == nil && runs == 2 && after == before:
				got = again
			case err == nil && runs == 2:
				got = elsewhere
			}
			if code, _ := refusal(err); got == refused && (code != test.code || runs != 1) {
				t.Errorf("got %v after %d runs", err, runs)
			}
			if got != test.want {
				t.Errorf("%s: %s, want that %s", test.code, got, test.want)
			}
		})
	}
}

// A refused connection says nothing about the data of the unit.
func TestDatabaseThatRefusesConnectionsIsUnavailable(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, sql, undo string }{
		{
			"no connection is left", `ALTER DATABASE %s CONNECTION LIMIT 0`,
			`ALTER DATABASE %s CONNECTION LIMIT -1`,
		},
		{
			"it is read-only", `ALTER DATABASE %s SET default_transaction_read_only = on`,
			`ALTER DATABASE %s RESET default_transaction_read_only`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			name := pgx.Identifier{read[string](t, db.Pool,
				`SELECT current_database()::text`)}.Sanitize()
			admin := superuser(t, with(t, db.AdminURL, func(u *url.URL) { u.Path = "/postgres" }))
			execute(t, admin, fmt.Sprintf(test.sql, name))
			wantTurnedAway(t, db.URL)
			execute(t, admin, fmt.Sprintf(test.undo, name))
		})
	}
	for _, test := range []struct {
		name   string
		change func(*url.URL)
	}{
		{
			"the password is another",
			func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "wrong") },
		},
		{"there is no such database", func(u *url.URL) { u.Path = "/nowhere" }},
		{"nobody listens", func(u *url.URL) { u.Host = "127.0.0.1:1" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			wantTurnedAway(t, with(t, pgtest.New(t).URL, test.change))
		})
	}
}

// with is a URL that is changed somewhere.
func with(t *testing.T, text string, change func(*url.URL)) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	change(u)
	return u.String()
}

func wantTurnedAway(t *testing.T, url string) {
	t.Helper()
	pools := open(t, url)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := newCommitter(pools).Run(ctx, func(context.Context, *postgres.Tx) error {
		t.Error("the unit ran")
		return nil
	})
	if !errors.Is(err, postgres.ErrUnavailable) || errors.Is(err, postgres.ErrOutcomeUnknown) {
		t.Errorf("a money transaction got %v, want %v", err, postgres.ErrUnavailable)
	}
	if _, err := pools.General.Exec(t.Context(), `SELECT`); !postgres.Unavailable(err) {
		t.Errorf("a read got %v, which is not called unavailable", err)
	}
}

// The error of a read is temporary, or it is not.
func TestTemporaryErrorsOfAReadAreUnavailable(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	pools := open(t, db.URL)
	for _, test := range []struct {
		name string
		read func(ctx context.Context) error
		want bool
	}{
		{"a question that cannot be read", func(ctx context.Context) error {
			_, err := pools.General.Exec(ctx, `SELEKT`)
			return err
		}, false},
		{"nothing found", func(ctx context.Context) error {
			return pools.General.QueryRow(ctx, `SELECT id FROM merchants`).Scan(new(int64))
		}, false},
		{"a backend that was terminated", func(ctx context.Context) error {
			admin := superuser(t, db.AdminURL)
			conn, err := pools.General.Acquire(ctx)
			if err != nil {
				return err
			}
			defer conn.Release()
			execute(t, admin, `SELECT pg_terminate_backend($1)`, conn.Conn().PgConn().PID())
			_, err = conn.Exec(ctx, `SELECT`)
			return err
		}, true},
		{"a pool that has no connection to give", func(ctx context.Context) error {
			conn, err := pools.General.Acquire(ctx)
			if err != nil {
				return err
			}
			defer conn.Release()
			ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			_, err = pools.General.Exec(ctx, `SELECT`)
			return err
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.read(t.Context())
			if err == nil {
				t.Fatal("the read succeeded")
			}
			if got := postgres.Unavailable(err); got != test.want {
				t.Errorf("unavailable: %t, want %t: %v", got, test.want, err)
			}
		})
	}
	if postgres.Unavailable(nil) {
		t.Error("no error is called unavailable")
	}
}
