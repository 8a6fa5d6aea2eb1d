package torture

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/service"
)

// refused starts an instance that must not serve, and has to say why.
func refused(t *testing.T, settings []string, reasons ...string) {
	t.Helper()
	child := service.Launch(t, append(settings, "LISTEN_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0"), "serve")
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

// Neither the server, the database nor the role may turn durability off.
func TestInstanceRefusesADatabaseThatMayLoseWhatItCommitted(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Durable(t, nil)
	b := &bench{T: t, url: cluster.URL(), adminURL: cluster.AdminURL()}
	role := owner(t, cluster.URL())
	for _, row := range []struct{ set, reset, reason string }{
		{`ALTER ROLE ` + role + ` SET synchronous_commit = off`, `ALTER ROLE ` + role + ` RESET ALL`, "synchronous_commit is off"},
		{`ALTER DATABASE paymentsvc SET synchronous_commit = local`, `ALTER DATABASE paymentsvc RESET ALL`, "synchronous_commit is local"},
		{`ALTER SYSTEM SET fsync = off`, `ALTER SYSTEM RESET fsync`, "fsync is off"},
		{`ALTER SYSTEM SET full_page_writes = off`, `ALTER SYSTEM RESET full_page_writes`, "full_page_writes is off"},
	} {
		b.configure(row.set)
		refused(t, []string{"DATABASE_URL=" + b.url}, row.reason, "--allow-data-loss")
		service.Start(t, b.url, service.AllowDataLoss).Kill()
		b.configure(row.reset)
	}
	service.Start(t, b.url)
}

// configure changes a setting, and waits until new sessions have it: the server reads its files in its own time.
func (b *bench) configure(statement string) {
	b.Helper()
	loaded := `SELECT (extract(epoch FROM pg_conf_load_time()) * 1000000)::bigint`
	before := b.number(loaded)
	b.exec(statement)
	b.exec(`SELECT pg_reload_conf()`)
	await.Until(b, margin, "the server has read its configuration", func() bool { return b.number(loaded) > before })
}

// The instance runs already: its next connection finds out.
func TestInstanceIsNotReadyOnceItsDatabaseMayLoseCommits(t *testing.T) {
	t.Parallel()
	b, cluster := newDurableBench(t, 1, nil)
	role := owner(t, cluster.URL())
	b.exec(`ALTER ROLE ` + role + ` SET synchronous_commit = off`)
	b.disconnect()
	b.awaitBackend("a new connection has asked, and was not content", `state = 'idle' AND query LIKE '%full_page_writes%'`)
	b.instance(0).AwaitNotReady(healthTime)
	b.exec(`ALTER ROLE ` + role + ` RESET ALL`)
	b.disconnect()
	b.instance(0).AwaitReady(readyAgainTime)
}
