package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/api"
	"github.com/paymentsvc/paymentsvc/lab/pgserver"
	"github.com/paymentsvc/paymentsvc/migrations"
)

// complaint runs a command that must fail without a result, and returns its one line.
func complaint(t *testing.T, args ...string) string {
	t.Helper()
	var out, err output
	if code := run(t.Context(), args, terminal{out: &out, err: &err}); code != 1 ||
		out.String() != "" || err.Count("\n") != 1 {
		t.Errorf("%v: exit code %d, %s%s", args, code, out.String(), err.String())
	}
	return err.String()
}

func TestVersionNamesContractCommitAndSchema(t *testing.T) {
	t.Parallel()
	var out output
	if code := run(t.Context(), []string{"--version"}, terminal{out: &out, err: &out}); code != 0 {
		t.Errorf("exit code %d", code)
	}
	want := regexp.MustCompile(fmt.Sprintf(`^paymentsvc (\S+), commit \S.*, schema %d\n$`,
		migrations.Latest))
	match := want.FindStringSubmatch(out.String())
	if match == nil || !strings.Contains(string(api.Document), "\n  version: "+match[1]+"\n") {
		t.Errorf("it printed %q, want %s", out.String(), want)
	}
}

// On a new server not even the service's role exists.
func TestCommandsOnAnEmptyDatabaseSayHowToMigrate(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t)
	server, err := pgserver.Start(t.Context(), pgserver.Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop(t.Context()) //nolint:errcheck // the data is thrown away
	for _, args := range []string{
		"merchants list", "merchants create shop", "keys list --merchant 1", "audit",
		"serve --no-migrate --listen-addr 127.0.0.1:0 --allow-data-loss --log-level error",
		"migrate force 1", "migrate down 1",
	} {
		said := complaint(t, append(strings.Fields(args), "--database-url", server.URL())...)
		if !strings.Contains(said, "run paymentsvc migrate up") ||
			strings.Contains(said, "SQLSTATE") {
			t.Errorf("%s: %s", args, said)
		}
	}
}

// A newcomer's mistakes are answered in one sentence that says what to do.
func TestStartSaysWhatToDo(t *testing.T) {
	dir := newDataDir(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("API_KEY", "sk_test")
	const (
		remove = "data directory is a file: "
		scheme = "does not begin with postgres://"
		http   = "https://HOST"
	)
	charge := "charge --amount 1 --currency USD --from a --to b "
	for args, says := range map[string]string{
		"dev --data-dir " + file:                                     remove,
		"dev --data-dir " + file + "/inside":                         remove,
		"dev --database-url localhost/payments":                      scheme,
		"serve --database-url localhost/payments?sslmode=disable":    scheme,
		"serve --database-url host=x --migrate-database-url me@host": scheme,
		"audit --database-url localhost:5432":                        scheme,
		"migrate --database-url payments up":                         scheme,
		charge + "--url 127.0.0.1:8080":                              http,
		"healthcheck --url 127.0.0.1:8080/readyz":                    http,
	} {
		if said := complaint(t, strings.Fields(args)...); !strings.Contains(said, says) {
			t.Errorf("%s: %s", args, said)
		}
	}
}
