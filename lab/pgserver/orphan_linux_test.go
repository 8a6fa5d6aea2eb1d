package pgserver

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

func TestStartWaitsForTheServerOfAKilledParent(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	killedParent(t, dir)
	wantKept(t, start(t, Options{DataDir: dir, Durable: true}), "by the parent")
}

// killedParent runs this test program as the parent of a server on dir (see TestMain),
// kills it, and returns the server's process id.
func killedParent(t *testing.T, dir string) (postmaster int) {
	t.Helper()
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentOn+"="+dir)
	parent.Stderr = os.Stderr
	output, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscanln(output, &postmaster); err != nil {
		t.Fatalf("waiting for the parent's server: %v", err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed, and says so
	return postmaster
}
