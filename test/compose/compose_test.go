//go:build compose

package compose

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/transcript"
)

// The page is run as one session of a shell, in which a reader's variables and
// functions stay.
func TestComposePageShowsWhatHappens(t *testing.T) {
	s := running
	page, err := os.ReadFile(root + "/docs/compose.md")
	if err != nil {
		t.Fatal(err)
	}
	here := strings.NewReplacer("docker compose", strings.Join(s.compose, " "),
		"8080", string(s.instance1), "8081", string(s.admin1),
		"8090", string(s.instance2), "8091", string(s.admin2), "12111", string(s.processor))
	var script, want strings.Builder
	for _, step := range transcript.Steps(string(page)) {
		fmt.Fprintf(&script, "cat <<'---'\n$ %s---\n%s", step.Command, here.Replace(step.Command))
		fmt.Fprintf(&want, "$ %s%s", step.Command, step.Output)
	}
	if steps := strings.Count(want.String(), "$ "); steps < 15 {
		t.Fatalf("the page shows %d commands", steps)
	}
	got := s.must(t, exec.Command("bash", "-c", script.String()+"true\n"))
	if transcript.Mask(got) != transcript.Mask(want.String()) {
		t.Fatalf("it happens:\n%s\nThe page says:\n%s", got, want.String())
	}
	t.Logf("it happens as the page says:\n%s", got)
}

// Containers are killed, and told to end, under load.
func TestEachKeyChargesOnceWhileInstancesAndPostgresAreKilled(t *testing.T) {
	s := running
	merchant := journal.ReadMerchant(t,
		s.must(t, s.command("exec", "-T", "instance1", "paymentsvc", "merchants", "create",
			"Load")))
	merchant.OpenAccounts(t, s.instance2.url())
	instances := []port{s.instance1, s.instance2}
	journal := journal.NewJournal(merchant, func() string {
		return instances[rand.IntN(len(instances))].url()
	})
	const clients = 12
	stop := journal.Load(t, clients)
	goOn := func() {
		t.Helper()
		for _, p := range instances {
			if err := p.awaitReady(); err != nil {
				t.Fatal(err)
			}
		}
		journal.AwaitAnswers(t, 10*clients)
	}
	goOn()
	postgres := s.container(t, "postgres")
	for i, p := range instances {
		id := s.container(t, fmt.Sprint("instance", i+1))
		journal.Strike(t, "kill -9 of an instance", p.url(), func() { s.docker(t, "kill", id) })
		journal.AwaitAnswers(t, clients) // at the other one
		s.docker(t, "start", id)
		goOn()
		journal.Strike(t, "kill -9 of Postgres", "", func() { s.docker(t, "kill", postgres) })
		s.docker(t, "start", postgres)
		goOn()
		journal.Strike(t, "SIGTERM to an instance", p.url(), func() { s.docker(t, "stop", id) })
		if code := s.docker(t, "inspect", "--format={{.State.ExitCode}}", id); code != "0" {
			t.Errorf("instance%d was told to end, and did so with exit code %s", i+1, code)
		}
		s.docker(t, "start", id)
		goOn()
	}
	stop()
	journal.Converge(t)
	journal.Judge(t, s.databaseURL("paymentsvc_owner", ownerPassword))
	if said := s.must(t,
		s.command("exec", "-T", "instance1", "paymentsvc",
			"audit")); said != "the books are in order\n" {
		t.Errorf("the audit says:\n%s", said)
	}
}

func (s *stack) databaseURL(user, password string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: "127.0.0.1:" +
		string(s.database), Path: "paymentsvc"}
	return u.String()
}

// An attacker who has taken an instance over has the instance's login.
func TestAnInstancesLoginCannotUndoWhatProtectsTheBooks(t *testing.T) {
	s := running
	conn, err := pgx.Connect(t.Context(), s.databaseURL("paymentsvc_service", servicePassword))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	const notAllowed = "42501"
	for _, statement := range []string{
		`SET ROLE paymentsvc_owner`,
		`SET ROLE postgres`,
		`GRANT paymentsvc_owner TO paymentsvc_service`,
		`UPDATE entries SET amount = 0`,
		`TRUNCATE entries`,
		`ALTER TABLE entries DISABLE TRIGGER entries_immutable`,
		`ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_pkey`,
		`DROP TABLE entries`,
		`CREATE TABLE mine (id int)`,
		`CREATE TEMPORARY TABLE mine (id int)`,
		`CREATE SCHEMA mine`,
		`CREATE ROLE mine`,
		`ALTER DATABASE paymentsvc SET synchronous_commit = off`,
	} {
		_, err := conn.Exec(t.Context(), `RESET ROLE; `+statement)
		if refused, ok := errors.AsType[*pgconn.PgError](err); !ok || refused.Code != notAllowed {
			t.Errorf("%s: %v, want a refusal with %s", statement, err, notAllowed)
		}
	}
	settings := s.docker(t, "inspect", "--format={{.Config.Env}}", s.container(t, "instance1"))
	if strings.Contains(settings, ownerPassword) || !strings.Contains(settings, servicePassword) {
		t.Error("an instance should know its own password and not the owner's")
	}
}

func TestContainersHaveNoRightsThatTheyDoNotNeed(t *testing.T) {
	s := running
	const format = "{{with .HostConfig}}{{.ReadonlyRootfs}} {{.CapDrop}} {{.CapAdd}} " +
		"{{.SecurityOpt}} {{.Privileged}}{{end}}"
	const hardened = "true [ALL] [] [no-new-privileges:true] false"
	const postgresNeeds = "true [ALL] [CHOWN DAC_OVERRIDE FOWNER SETGID SETUID] " +
		"[no-new-privileges:true] false"
	const here = "<127.0.0.1>"
	for service, want := range map[string]struct{ rights, published string }{
		"instance1": {hardened, here + here}, // the API and the metrics
		"instance2": {hardened, here + here},
		"postgres":  {postgresNeeds, here},
		"nats":      {hardened, ""},
		"processor": {hardened, here},
	} {
		id := s.container(t, service)
		if got := s.docker(t, "inspect", "--format="+format, id); got != want.rights {
			t.Errorf("%s has %s, want %s", service, got, want.rights)
		}
		// empty: everywhere
		const published = "--format={{range .HostConfig.PortBindings}}{{range " +
			".}}<{{.HostIp}}>{{end}}{{end}}"
		if got := s.docker(t, "inspect", published, id); got != want.published {
			t.Errorf("%s can be reached at %s, want %s", service, got, want.published)
		}
	}
	for _, service := range []string{"instance1", "instance2", "processor"} {
		if user := s.docker(t, "inspect", "--format={{.Config.User}}",
			s.container(t, service)); user != "65532:65532" {
			t.Errorf("%s runs as %s", service, user)
		}
	}
	server := s.must(t,
		s.command("exec", "-T", "postgres", "bash", "-c",
			"grep -E '^(Uid|CapEff|NoNewPrivs):' /proc/1/status"))
	for _, want := range []string{"CapEff:\t0000000000000000\n", "NoNewPrivs:\t1\n"} {
		if !strings.Contains(server, want) {
			t.Errorf("%q is not in the server's status:\n%s", want, server)
		}
	}
}

// A container's health is what the image's own check says, and it follows the database.
func TestHealthCheckFollowsTheDatabase(t *testing.T) {
	s := running
	id, postgres := s.container(t, "instance1"), s.container(t, "postgres")
	healthy := func(want string) {
		t.Helper()
		await.Until(t, readyPatience, "the container is "+want, func() bool {
			return s.docker(t, "inspect", "--format={{.State.Health.Status}}", id) == want
		})
	}
	healthy("healthy")
	s.docker(t, "kill", postgres)
	healthy("unhealthy")
	s.docker(t, "start", postgres)
	healthy("healthy")
}
