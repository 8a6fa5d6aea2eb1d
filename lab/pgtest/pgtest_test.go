package pgtest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/migrations"
)

func TestMain(m *testing.M) { Main(m) }

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	t.Parallel()
	one, two := New(t), New(t)
	execute(t, one, `INSERT INTO merchants (id, name) VALUES (1, 'only in one')`)
	var merchants int
	if err := two.Pool.QueryRow(t.Context(), `SELECT count(*) FROM merchants`).
		Scan(&merchants); err != nil {
		t.Fatal(err)
	}
	if merchants != 0 {
		t.Error("a test sees the data of another")
	}
}

func TestDatabaseIsMigrated(t *testing.T) {
	t.Parallel()
	db := New(t)
	if err := new(migrations.Checker).Check(t.Context(), db.Pool); err != nil {
		t.Error(err)
	}
	if err := migrations.Up(t.Context(), db.URL); err != nil {
		t.Errorf("migrating what is migrated: %v", err)
	}
}

func TestOwnerHasNoMoreRightsThanInProduction(t *testing.T) {
	t.Parallel()
	db := New(t)
	if got, want := rightsOf(t, db.URL), (rights{owner: true}); got != want {
		t.Errorf("the owner has the rights %+v, want %+v", got, want)
	}
	if got, want := rightsOf(t,
		db.AdminURL), (rights{super: true, createDatabase: true}); got != want {
		t.Errorf("the administrator has the rights %+v, want %+v", got, want)
	}
	var database string
	if err := db.Pool.QueryRow(t.Context(), `SELECT current_database()`).
		Scan(&database); err != nil {
		t.Fatal(err)
	}
	if admin, err := pgx.ParseConfig(db.AdminURL); err != nil || admin.Database != database {
		t.Errorf("the administrator's URL is of database %s (%v), want %s", admin.Database, err,
			database)
	}
}

type rights struct{ super, createDatabase, owner bool }

func rightsOf(t *testing.T, url string) (r rights) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	err = conn.QueryRow(t.Context(), `
		SELECT r.rolsuper, r.rolcreatedb, d.datdba = r.oid
		FROM pg_roles r, pg_database d
		WHERE r.rolname = current_user AND d.datname = current_database()`).Scan(&r.super, &r.createDatabase, &r.owner)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBrokenBooksFailTheTest(t *testing.T) {
	t.Parallel()
	var db *DB
	fake := inFake(t, func(tb testing.TB) {
		db = New(tb)
		breakBooks(t, db)
	})
	fake.wantComplaint(t, "i2_balances_match_entries", "account broken")
	dropKept(t, db) // which also proves that it was kept
}

func TestBooksMayBeBrokenOnPurpose(t *testing.T) {
	t.Parallel()
	fake := inFake(t, func(tb testing.TB) { breakBooks(t, NewBroken(tb)) })
	fake.wantNoComplaint(t)
}

func TestAuditComesAfterTheTestsOwnCleanup(t *testing.T) {
	t.Parallel()
	fake := inFake(t, func(tb testing.TB) {
		db := New(tb)
		breakBooks(t, db)
		tb.Cleanup(func() { execute(t, db, `UPDATE accounts SET balance = 0`) })
	})
	fake.wantNoComplaint(t)
}

func TestAuditNeedsNothingOfTheTestsPool(t *testing.T) {
	t.Parallel()
	var db *DB
	fake := inFake(t, func(tb testing.TB) {
		db = New(tb)
		breakBooks(t, db)
		db.Pool.Close()
	})
	fake.wantComplaint(t, "i2_balances_match_entries")
	dropKept(t, db)
}

func TestDatabaseIsDroppedThoughTheTestLeaksAConnection(t *testing.T) {
	t.Parallel()
	var leaked *pgx.Conn
	fake := inFake(t, func(tb testing.TB) {
		var err error
		if leaked, err = pgx.Connect(tb.Context(), New(tb).URL); err != nil {
			tb.Fatal(err)
		}
	})
	fake.wantNoComplaint(t)
	if err := leaked.Ping(t.Context()); err == nil {
		t.Error("the leaked connection still has a database")
	}
}

// breakBooks makes a balance that no entry explains.
func breakBooks(t *testing.T, db *DB) {
	t.Helper()
	execute(t, db, `INSERT INTO merchants (id, name) VALUES (1, 'careless')`)
	execute(t, db, `INSERT INTO accounts (merchant_id, id, currency, balance) VALUES (1, 'broken', 'EUR', 5)`)
}

func execute(t *testing.T, db *DB, sql string) {
	t.Helper()
	if _, err := db.Pool.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// dropKept drops the database of a test that failed on purpose; the server may be one
// that stays.
func dropKept(t *testing.T, db *DB) {
	t.Helper()
	config, err := pgx.ParseConfig(db.AdminURL)
	if err != nil {
		t.Fatal(err)
	}
	name := config.Database
	config.Database = "postgres"
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(),
		`DROP DATABASE `+pgx.Identifier{name}.Sanitize()+` WITH (FORCE)`); err != nil {
		t.Fatal(err)
	}
}
