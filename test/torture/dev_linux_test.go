package torture

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/service"
)

// The kernel tells Postgres and NATS that their parent has died. Only Linux's can.
func TestKilledDevLeavesNoServerAndCanStartAgain(t *testing.T) {
	t.Parallel()
	d := startDev(t, newDataDir(t))
	d.Kill()
	await.Until(t, 10*time.Second, "the servers end after their parent", d.serversEnded)
	if command := launchDev(t, d.dataDir, "--print-database-url"); command.ExitCode() != 1 {
		t.Errorf("dev was killed, and its database is still said to be at %s",
			command.Stdout.String())
	}
	again := startDev(t, d.dataDir)
	if code := again.Terminate(); code != 0 || !again.serversEnded() {
		t.Errorf("dev ended with %d, its servers too: %t", code, again.serversEnded())
	}
}

// A terminal shows text, not JSON. The first Ctrl-C waits for requests that are under way,
// and the second ends dev at once.
func TestDevOnATerminal(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t)
	terminal := exec.Command("script", "-qec", service.Binary(t)+" dev", os.DevNull)
	terminal.Env = append(os.Environ(), "DATABASE_URL=", "PAYMENTSVC_DATA_DIR="+dir,
		"LISTEN_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0")
	var shown service.Output
	terminal.Stdout = &shown
	keyboard, err := terminal.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := terminal.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Process.Kill() })
	ended := make(chan error, 1)
	go func() { ended <- terminal.Wait() }()
	greeting := regexp.MustCompile(`serving at http://(\S+)\s+API key: (\S+)`)
	var match []string
	await.Until(t, devPatience, "dev greets", func() bool {
		match = greeting.FindStringSubmatch(shown.String())
		return match != nil
	})
	caller, err := net.Dial("tcp", match[1])
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	fmt.Fprintf(caller, "POST /payments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
		"Idempotency-Key: k\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
		match[2])
	interrupt := func(says string) {
		t.Helper()
		if _, err := keyboard.Write([]byte{3}); err != nil {
			t.Fatal(err)
		}
		await.Until(t, 5*time.Second, says, func() bool {
			return strings.Contains(shown.String(), says)
		})
	}
	interrupt(`level=INFO msg="shutting down"`)
	interrupt("paymentsvc: a second signal: ended at once")
	if exit, ok := errors.AsType[*exec.ExitError](<-ended); !ok || exit.ExitCode() != 130 {
		t.Errorf("it ended with %v", exit)
	}
	if strings.Contains(shown.String(), `{"time"`) {
		t.Errorf("a terminal shows JSON:\n%s", shown.String())
	}
	await.Until(t, 10*time.Second, "Postgres ends after its parent", func() bool {
		_, err := os.Stat(filepath.Join(dir, "data", "postmaster.pid"))
		return errors.Is(err, os.ErrNotExist)
	})
}
