package pgserver_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/pgserver"
)

func TestNoServerOutlivesAKilledParent(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	parent, postmaster := startParent(t, dir)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed, and says so
	deadline := time.After(20 * time.Second)
	for !errors.Is(syscall.Kill(postmaster, 0), syscall.ESRCH) {
		select {
		case <-deadline:
			t.Fatalf("server process %d outlived its parent", postmaster)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestStartWaitsForTheServerOfAKilledParent(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	parent, _ := startParent(t, dir)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed, and says so
	wantKept(t, start(t, pgserver.Options{DataDir: dir, Durable: true}), "by the parent")
}

// startParent runs this test program as the parent of a server on dir; see TestMain.
func startParent(t *testing.T, dir string) (parent *exec.Cmd, postmaster int) {
	t.Helper()
	parent = exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentOn+"="+dir)
	parent.Stderr = os.Stderr
	output, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatalf("waiting for the parent's server: %v", err)
	}
	postmaster, err = strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return parent, postmaster
}
