package torture

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/service"
)

// refused starts an instance that must not serve, and has to say why.
func refused(t *testing.T, settings []string, reasons ...string) {
	t.Helper()
	child := service.Launch(t,
		append(settings, "LISTEN_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0"), "serve")
	if code := child.ExitCode(); code != 1 {
		t.Errorf("the exit code is %d, want 1", code)
	}
	said := child.Stderr.String()
	for _, reason := range reasons {
		if !strings.Contains(said, reason) {
			t.Errorf("the complaint does not say %q:\n%s", reason, said)
		}
	}
}

// owner is the name of the role that the service logs in as.
func owner(t *testing.T, url string) string {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	return pgx.Identifier{config.User}.Sanitize()
}

// Package postgres shows it of every setting of the server, the database and the login.
func TestInstanceRefusesADatabaseThatMayLoseWhatItCommitted(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Durable(t, nil)
	b := &bench{T: t, url: cluster.URL(), adminURL: cluster.AdminURL()}
	b.exec(`ALTER DATABASE paymentsvc SET synchronous_commit = local`)
	refused(t, []string{"DATABASE_URL=" + b.url}, "synchronous_commit is local",
		"--allow-data-loss")
	service.Start(t, b.url, service.AllowDataLoss).Kill()
	b.exec(`ALTER DATABASE paymentsvc RESET ALL`)
	service.Start(t, b.url)
}

// The instance runs already: its next connection finds out.
func TestInstanceIsNotReadyOnceItsDatabaseMayLoseCommits(t *testing.T) {
	t.Parallel()
	b, cluster := newDurableBench(t, 1, nil)
	role := owner(t, cluster.URL())
	b.exec(`ALTER ROLE ` + role + ` SET synchronous_commit = off`)
	b.disconnect()
	b.awaitBackend("a new connection has asked, and was not content",
		`state = 'idle' AND query LIKE '%full_page_writes%'`)
	b.instance(0).AwaitNotReady(healthTime)
	b.exec(`ALTER ROLE ` + role + ` RESET ALL`)
	b.disconnect()
	b.instance(0).AwaitReady(readyAgainTime)
}
