package pgserver_test

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/pgserver"
)

func TestDurableServersKeepPostgresDefaults(t *testing.T) {
	t.Parallel()
	s := start(t, pgserver.Options{Durable: true,
		Parameters: map[string]string{"deadlock_timeout": "123ms"}})
	for setting, want := range map[string]string{
		"fsync":              "on",
		"synchronous_commit": "on",
		"full_page_writes":   "on",
		"listen_addresses":   "127.0.0.1",
		"max_connections":    "200",
		"deadlock_timeout":   "123ms",
	} {
		if got := ask(t, s, "SHOW "+setting); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
}

func TestConnectionsNeedThePassword(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	s := start(t, pgserver.Options{DataDir: dir})
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(u.User.Username(), "guessed")
	if conn, err := pgx.Connect(t.Context(), u.String()); err == nil {
		t.Error("any password does")
		conn.Close(t.Context())
	}
	for _, file := range []string{"password", "postgres.log"} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("others may read %s: %v", file, info.Mode())
		}
	}
}
