package torture

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgserver"
	"github.com/paymentsvc/paymentsvc/lab/service"
)

// devPatience is for everything that dev does before it serves, on a machine that is
// busy: initdb, for one.
const devPatience = 40 * time.Second

// dev is a running `paymentsvc dev`.
type dev struct {
	*service.Child
	dataDir   string
	processes []int // of its Postgres, and its NATS server
}

// newDataDir is a place for dev's database; root's Postgres, which is another user, can
// get there.
func newDataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "paymentsvc-torture-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(pgserver.Remove(filepath.Join(dir, "data")),
			os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "data")
}

func launchDev(t *testing.T, dataDir string, args ...string) *service.Child {
	t.Helper()
	settings := []string{
		"LISTEN_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0",
		"PAYMENTSVC_DATA_DIR=" + dataDir,
	}
	return service.Launch(t, settings, append([]string{"dev"}, args...)...)
}

// startDev returns once dev has greeted.
func startDev(t *testing.T, dataDir string) *dev {
	t.Helper()
	d := &dev{Child: launchDev(t, dataDir), dataDir: dataDir}
	await.Until(t, devPatience, "dev greets", func() bool {
		if d.Ended() {
			t.Fatalf("dev ended with %d: %s", d.ExitCode(), d.Stderr.String())
		}
		return d.Stdout.Count("curl ") > 0
	})
	d.processes = append(d.postgresProcesses(t), d.brokerProcess(t))
	return d
}

// postgresProcesses asks dev's Postgres, by the URL that dev prints for psql.
func (d *dev) postgresProcesses(t *testing.T) []int {
	t.Helper()
	command := launchDev(t, d.dataDir, "--print-database-url")
	if code := command.ExitCode(); code != 0 {
		t.Fatalf("dev --print-database-url ended with %d: %s", code, command.Stderr.String())
	}
	conn, err := pgx.Connect(t.Context(), strings.TrimSpace(command.Stdout.String()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), `SELECT pid FROM pg_stat_activity`)
	if err != nil {
		t.Fatal(err)
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(d.dataDir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(file), "\n")
	postmaster, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	return append(pids, postmaster)
}

// brokerProcess is the process of dev's NATS server, as dev has logged it.
func (d *dev) brokerProcess(t *testing.T) int {
	t.Helper()
	said := regexp.MustCompile(`"nats-server runs","pid":(\d+)`).
		FindStringSubmatch(d.Stderr.String())
	if said == nil {
		t.Fatal("dev has started no NATS server")
	}
	pid, err := strconv.Atoi(said[1])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// serversEnded tells whether none of its processes is left.
func (d *dev) serversEnded() bool {
	for _, pid := range d.processes {
		if !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return false
		}
	}
	return true
}

var paymentID = regexp.MustCompile(`"id":"(pay_[0-9a-f]{32})"`)

// What a newcomer does: copy the line, and send it again. Then another terminal, and
// Ctrl-C.
func TestDevServesItsPrintedLineTwiceAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	d := startDev(t, newDataDir(t))
	line := regexp.MustCompile(`(?m)^curl .*$`).FindString(d.Stdout.String())
	first, second := shell(t, line), shell(t, line)
	id := paymentID.FindStringSubmatch(first)
	if id == nil || !strings.Contains(first, "201 Created") ||
		strings.Contains(first, "Idempotent-Replayed") {
		t.Errorf("the printed line was answered\n%s", first)
	}
	if id == nil || !strings.Contains(second, id[1]) ||
		!strings.Contains(second, "Idempotent-Replayed: true") {
		t.Errorf("the printed line, sent again, was answered\n%s", second)
	}

	rival := launchDev(t, d.dataDir)
	if code := rival.ExitCode(); code != 1 {
		t.Errorf("a second dev on the same data ended with %d", code)
	}
	if said := rival.Stderr.String(); !strings.Contains(said, "in use") ||
		!strings.Contains(said, strconv.Itoa(d.PID())) {
		t.Errorf("a second dev on the same data does not name the first, process %d:\n%s", d.PID(),
			said)
	}

	d.Signal(syscall.SIGINT)
	if code := d.ExitCode(); code != 0 {
		t.Errorf("after Ctrl-C, dev ended with %d", code)
	}
	if !d.serversEnded() {
		t.Error("after Ctrl-C, a server of dev still runs")
	}
	if command := launchDev(t, d.dataDir, "--print-database-url"); command.ExitCode() != 1 {
		t.Errorf("dev has ended, and its database is still said to be at %s",
			command.Stdout.String())
	}
}

// shell runs a line as a person would.
func shell(t *testing.T, line string) string {
	t.Helper()
	said, err := exec.Command("sh", "-c", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, said)
	}
	return string(said)
}
