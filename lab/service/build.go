package service

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

const (
	mainPackage    = "github.com/paymentsvc/paymentsvc/cmd/paymentsvc"
	oneFilePackage = "github.com/paymentsvc/paymentsvc/examples/onefile"

	consumerPackage = "github.com/paymentsvc/paymentsvc/examples/consumer"
)

// binary is a program, built for this test process.
type binary struct {
	path string
	// leash is what the janitor waits on: the kernel closes it when this process ends,
	// and nobody before.
	leash io.Closer
}

// Binary is the program, built from this working tree at the first call of a test
// process.
func Binary(t testing.TB) string {
	t.Helper()
	return buildOnce(t, builtMain)
}

var (
	builtConsumer = sync.OnceValues(func() (binary, error) { return build(consumerPackage) })

	builtMain    = sync.OnceValues(func() (binary, error) { return build(mainPackage) })
	builtOneFile = sync.OnceValues(func() (binary, error) { return build(oneFilePackage) })
)

func buildOnce(t testing.TB, built func() (binary, error)) (path string) {
	t.Helper()
	b, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return b.path
}

func build(program string) (binary, error) {
	dir, err := os.MkdirTemp("", "paymentsvc-build-")
	if err != nil {
		return binary{}, fmt.Errorf("making a place for the program: %w", err)
	}
	leash, err := removeAtExit(dir)
	if err != nil {
		return binary{}, errors.Join(err, os.RemoveAll(dir))
	}
	b := binary{path: filepath.Join(dir, filepath.Base(program)), leash: leash}
	args := []string{"build", "-buildvcs=false", "-o", b.path}
	if RaceDetector {
		args = append(args, "-race")
	}
	if said, err := exec.Command("go", append(args, program)...).CombinedOutput(); err != nil {
		return binary{}, fmt.Errorf("building %s: %w\n%s", program, err, said)
	}
	return b, nil
}

// removeAtExit removes dir when this process has ended, however it ends. A test process
// has no end at which Go code runs for sure, so a shell waits for it: its standard
// input is at an end when we are.
func removeAtExit(dir string) (leash io.Closer, err error) {
	janitor := exec.Command("sh", "-c", `cat >/dev/null; rm -rf "$0"`, dir)
	janitor.SysProcAttr = ownGroup() // Ctrl-C is for us
	stdin, err := janitor.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("arranging for the program's removal: %w", err)
	}
	if err := janitor.Start(); err != nil {
		return nil, fmt.Errorf("arranging for the program's removal: %w", err)
	}
	return stdin, nil
}
