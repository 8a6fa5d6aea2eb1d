package pgtest

import (
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestMain(m *testing.M) { Main(m) }

func TestRightsOfTheURLs(t *testing.T) {
	t.Parallel()
	db := New(t)
	const rights = `
		SELECT format('super: %s, creates databases: %s, owns this one: %s',
			r.rolsuper, r.rolcreatedb, d.datdba = r.oid)
		FROM pg_roles r, pg_database d
		WHERE r.rolname = current_user AND d.datname = current_database()`
	query(t, db.URL, rights, "super: f, creates databases: f, owns this one: t")
	query(t, db.AdminURL, rights, "super: t, creates databases: t, owns this one: f")
}

func TestAuditFailsTheTest(t *testing.T) {
	t.Parallel()
	var db *DB
	fake := inFake(t, func(tb testing.TB) {
		db = New(tb)
		breakBooks(t, db)
		db.Pool.Close()
	})
	fake.wantComplaint(t, "i2_balances_match_entries", "account broken")
	dropKept(t, db) // which also proves that it was kept
}

func TestAuditComesAfterTheTestsCleanup(t *testing.T) {
	t.Parallel()
	fake := inFake(t, func(tb testing.TB) {
		db := New(tb)
		breakBooks(t, db)
		tb.Cleanup(func() { execute(t, db, `UPDATE accounts SET balance = 0`) })
	})
	if fake.Failed() {
		t.Errorf("unexpected complaints: %q", fake.complaints)
	}
}

func TestLeakedConnectionDoesNotKeepTheDatabase(t *testing.T) {
	t.Parallel()
	var leaked *pgx.Conn
	fake := inFake(t, func(tb testing.TB) {
		var err error
		if leaked, err = pgx.Connect(tb.Context(), New(tb).URL); err != nil {
			tb.Fatal(err)
		}
	})
	if fake.Failed() {
		t.Errorf("unexpected complaints: %q", fake.complaints)
	}
	if err := leaked.Ping(t.Context()); err == nil {
		t.Error("the leaked connection still has a database")
	}
}

// breakBooks makes a balance that no entry explains.
func breakBooks(t *testing.T, db *DB) {
	t.Helper()
	execute(t, db, `INSERT INTO merchants (id, name) VALUES (1, 'careless')`)
	execute(t, db, `
		INSERT INTO accounts (merchant_id, id, currency, balance)
		VALUES (1, 'broken', 'EUR', 5)`)
}

func execute(t *testing.T, db *DB, sql string) {
	t.Helper()
	if _, err := db.Pool.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// dropKept drops the database of a test that failed on purpose. The server may stay.
func dropKept(t *testing.T, db *DB) {
	t.Helper()
	u, err := url.Parse(db.AdminURL)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	u.Path = "/postgres"
	drop := `DROP DATABASE "` + name + `" WITH (FORCE)`
	if err := asAdmin(t.Context(), u.String(), drop); err != nil {
		t.Fatal(err)
	}
}
