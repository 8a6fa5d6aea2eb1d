package torture

import (
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
)

// The kernel tells Postgres that its parent has died. Only Linux's can.
func TestKilledDevLeavesNoPostgresAndCanStartAgain(t *testing.T) {
	t.Parallel()
	d := startDev(t, newDataDir(t))
	d.Kill()
	await.Until(t, 10*time.Second, "Postgres ends after its parent", d.postgresEnded)
	if command := launchDev(t, d.dataDir, "--print-database-url"); command.ExitCode() != 1 {
		t.Errorf("dev was killed, and its database is still said to be at %s",
			command.Stdout.String())
	}
	again := startDev(t, d.dataDir)
	if code := again.Terminate(); code != 0 || !again.postgresEnded() {
		t.Errorf("dev ended with %d, its Postgres too: %t", code, again.postgresEnded())
	}
}
