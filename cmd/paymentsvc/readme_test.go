package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/service"
	"github.com/paymentsvc/paymentsvc/lab/transcript"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// output collects what a command prints, and may be read while it runs.
type output = service.Output

// startDev runs `paymentsvc dev` with fresh data until the test ends, and returns its
// address and API key.
func startDev(t *testing.T) (address, apiKey string) {
	t.Helper()
	var out, log output
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	t.Setenv("DATABASE_URL", "")
	dataDir := t.TempDir()
	// when root runs the test, another user runs its Postgres
	for _, dir := range []string{dataDir, filepath.Dir(dataDir)} {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		args := []string{
			"dev", "--data-dir", dataDir, "--listen-addr", "127.0.0.1:0",
			"--admin-addr", "127.0.0.1:0",
		}
		ended <- run(ctx, args, terminal{out: &out, err: &log})
	}()
	t.Cleanup(func() {
		stop()
		if code := <-ended; code != 0 {
			t.Errorf("dev ended with %d:\n%s", code, log.String())
		}
	})
	printed := regexp.MustCompile(`serving at http://(\S+)\nAPI key: (\S+)`)
	var match []string
	await.Until(t, time.Minute, "dev serves", func() bool {
		select {
		case code := <-ended:
			ended <- code
			t.Fatalf("dev ended with %d:\n%s%s", code, out.String(), log.String())
		default:
		}
		match = printed.FindStringSubmatch(out.String())
		return match != nil
	})
	return match[1], match[2]
}

var assignment = regexp.MustCompile(`^[A-Z_]+=`)

func TestReadmeCommandsPrintWhatItShows(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := transcript.Steps(string(readme))
	if len(shown) < 4 {
		t.Fatalf("the README shows %d commands", len(shown))
	}
	address, apiKey := startDev(t)
	// each command has a shell of its own; what an earlier one assigned is assigned
	// again, and being idempotent is the same
	assigned := ""
	for _, s := range shown {
		command := strings.ReplaceAll(s.Command, "127.0.0.1:8080", address)
		shell := exec.CommandContext(t.Context(), "bash", "-o", "pipefail", "-c", assigned+command)
		if assignment.MatchString(command) {
			assigned += command
		}
		shell.Env = append(os.Environ(), "API_KEY="+apiKey)
		printed, err := shell.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v", command, err)
		}
		if got, want := transcript.Mask(string(printed)), transcript.Mask(s.Output); got != want {
			t.Errorf("%s\nprints:\n%s\nThe README says:\n%s", command, got, want)
		}
	}
}
