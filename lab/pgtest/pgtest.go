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
// Parallel tests cannot see each other, so none of them cleans up. After each test the
// invariants of the books are checked (see package audit), whatever the test was about;
// a violation fails it.
//
// The databases are on one server per test process, taken from the first of these that
// works:
//
//  1. TEST_DATABASE_URL, an administrator's URL of a server that is there already. It stays, and so do the databases
//     of failed tests, to be looked at.
//  2. a container, if a Docker daemon answers;
//  3. the Postgres programs of this machine;
//  4. downloaded Postgres programs.
//
// TEST_POSTGRES=docker, local or download insists on one of the last three, and
// TEST_POSTGRES_IMAGE on a container of that image, for another version of Postgres.
// With none there is no test run: tests without a database prove nothing, so they fail
// rather than being skipped.
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
	// as the owner of the database, who is no superuser; the service's own URL
	URL      string
	AdminURL string // as a superuser, on the same database
	// as the owner, for what the test itself wants to know; closed after the test
	Pool *pgxpool.Pool
}

// New is a migrated database for one test. After the test and its clean-up functions,
// its invariants are checked, and it is dropped; a failed test keeps it and says its
// URL, which is of use if the server stays (see package comment).
func New(t testing.TB) *DB {
	t.Helper()
	db := open(t)
	// Clean-up functions run last in, first out: what the test registers from now on
	// ends before the audit begins, and the database is dropped after it.
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

// check fails the test for every promise that its data breaks. It connects by itself,
// because a test may have used up or closed its pool, and not for long, because a test
// may have left a lock behind.
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
	const ofEach = 20 // of one broken promise, the first examples are enough
	violations, err := audit.Run(ctx, conn, ofEach)
	if err != nil {
		t.Errorf("pgtest: auditing after the test: %v", err)
	}
	for _, violation := range violations {
		t.Errorf("after the test, the books are not in order: %v", violation)
	}
}
