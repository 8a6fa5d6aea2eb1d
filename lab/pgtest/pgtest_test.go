package pgtest

import (
	"context"
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
		breakBooks(t, db.URL)
		db.Pool.Close()
	})
	fake.wantComplaint(t, "i2_balances_match_entries", "account broken")
	dropKept(t, db) // which also proves that it was kept
}

// breakBooks makes a balance that no entry explains.
func breakBooks(t *testing.T, url string) {
	t.Helper()
	if err := asAdmin(t.Context(), url,
		`INSERT INTO merchants (id, name) VALUES (1, 'careless')`,
		`INSERT INTO accounts (merchant_id, id, currency, balance)
		VALUES (1, 'broken', 'EUR', 5)`); err != nil {
		t.Fatal(err)
	}
}

// query expects one answer.
func query(t *testing.T, url, sql, want string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var got string
	if err := conn.QueryRow(t.Context(), sql).Scan(&got); err != nil || got != want {
		t.Errorf("%s: %s (%v), want %s", sql, got, err, want)
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
