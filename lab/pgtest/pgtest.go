// Package pgtest gives every test a Postgres database of its own, migrated, and audits
// it when the test is over.
//
// A package that uses it has one line of set-up:
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
// and a test asks for its database, which takes less than a tenth of a second because
// it is a copy of a template:
//
//	db := pgtest.New(t)
//
// Parallel tests cannot see each other, so none of them cleans up. After each test its
// database is audited (see package audit), and a violation fails it.
//
// The databases are on one server per test process, taken from the first of these that
// works:
//
//  1. TEST_DATABASE_URL, an administrator's URL of a running server. It keeps the databases
//     of failed tests, for a look at them;
//  2. a container, if a Docker daemon answers;
//  3. the Postgres programs of this machine;
//  4. downloaded Postgres programs.
//
// TEST_POSTGRES=docker, local or download insists on one of the last three, and
// TEST_POSTGRES_IMAGE on a container of that image, for another version of Postgres.
//
// TEST_POSTGRES_MODE=sharded puts the databases into sharded mode (internal/postgres/
// sharded.go), as far as a Postgres without Citus can be. Of the rules that Citus makes for
// statements, one is enforced then: an UPDATE or DELETE changes rows of one merchant only.
//
// With none the tests fail rather than being skipped: they would prove nothing.
package pgtest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/peterldowns/pgtestdb"

	"github.com/paymentsvc/paymentsvc/internal/audit"
)

// DB is a test's own database.
type DB struct {
	URL      string        // the service's own: as the database's owner, who is no superuser
	AdminURL string        // as a superuser
	Pool     *pgxpool.Pool // as the owner, for the test's own queries; closed after the test
}

// New is a migrated database for one test. After the test and its clean-up functions, it
// is audited and dropped. A failed test keeps it and says its URL, which is of use if the
// server stays (see package comment).
func New(t testing.TB) *DB {
	t.Helper()
	db := open(t)
	// Clean-up functions run last in, first out. Those of the test come later, so they run
	// before the audit. The database is dropped after it.
	t.Cleanup(func() { check(t, db.URL) })
	t.Cleanup(db.Pool.Close)
	return db
}

// NewBroken is New without the audit, for tests that break the books on purpose.
func NewBroken(t testing.TB) *DB {
	t.Helper()
	db := open(t)
	t.Cleanup(db.Pool.Close)
	return db
}

func open(t testing.TB) *DB {
	t.Helper()
	adminURL := run.adminURL(t)
	config, err := testConfig(adminURL)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	own := pgtestdb.Custom(t, config, migrator{adminURL: adminURL})
	pool, err := pgxpool.New(t.Context(), own.URL())
	if err != nil {
		t.Fatalf("pgtest: connecting to the test's database: %v", err)
	}
	config.Database = own.Database
	return &DB{URL: own.URL(), AdminURL: config.URL(), Pool: pool}
}

// check fails the test for every violation in its data. It connects by itself, because a
// test may have used up or closed its pool. It has a time limit, because a test may have
// left a lock behind.
func check(t testing.TB, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Errorf("pgtest: connecting for the audit after the test: %v", err)
		return
	}
	defer conn.Close(ctx)
	const ofEach = 20 // examples of one kind of violation
	violations, err := audit.Run(ctx, conn, ofEach)
	if err != nil {
		t.Errorf("pgtest: auditing after the test: %v", err)
	}
	for _, violation := range violations {
		t.Errorf("after the test, the audit found: %v", violation)
	}
}
