package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/service"
	"github.com/paymentsvc/paymentsvc/lab/transcript"
)

// TestMain also is the card processor that dev starts from its own program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "simulate-processor" {
		main()
	}
	pgtest.Main(m)
}

// output collects what a command prints, and may be read while it runs.
type output = service.Output

// startDev runs `paymentsvc dev` with fresh data until the test ends, and returns its
// address and API key.
func startDev(t *testing.T) (address, apiKey string) {
	t.Helper()
	dev := startDevOn(t, newDataDir(t))
	return dev.address, dev.apiKey
}

// dev is a running dev.
type dev struct {
	address, apiKey string
	processor       string // the address of its card processor
	stop            func() // ends it before the test does
}

// newDataDir is a directory of the test. When root runs it, another user runs its
// Postgres, and has to get there.
func newDataDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, dir := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// startDevOn is startDev on this data. For commands that talk to its broker, it sets what
// they read.
func startDevOn(t *testing.T, dataDir string) dev {
	t.Helper()
	var out, log output
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	t.Setenv("DATABASE_URL", "")
	t.Setenv("NATS_URL", "")
	t.Setenv("SIMULATOR_SECRET", "sk_of_another_simulator")
	go func() {
		args := []string{
			"dev", "--data-dir", dataDir, "--listen-addr", "127.0.0.1:0",
			"--admin-addr", "127.0.0.1:0",
		}
		ended <- run(ctx, args, terminal{out: &out, err: &log})
	}()
	stop := sync.OnceFunc(func() {
		cancel()
		if code := <-ended; code != 0 {
			t.Errorf("dev ended with %d:\n%s", code, log.String())
		}
	})
	t.Cleanup(stop)
	printed := regexp.MustCompile(
		`(?s)serving at http://(\S+)\nAPI key: (\S+)\nMerchant: (\d+)\n` +
			`.*Cards: http://(\S+)\. .*Messages: (\S+)`)
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
	t.Setenv("MERCHANT_ID", match[3])
	t.Setenv("NATS_URL", match[5])
	return dev{address: match[1], apiKey: match[2], processor: match[4], stop: stop}
}

// Shells, scripts and the browser keep working after a restart.
func TestDevKeepsItsAPIKey(t *testing.T) {
	dir := newDataDir(t)
	first := startDevOn(t, dir)
	first.stop()
	second := startDevOn(t, dir)
	said := complaint(t, "dev", "--data-dir", dir)
	if !strings.Contains(said, fmt.Sprintf("in use: process %d runs a Postgres in %s: end that "+
		"process, or choose another directory (--data-dir)", os.Getpid(), dir)) {
		t.Errorf("a second dev on the same data: %s", said)
	}
	second.stop()
	if err := os.WriteFile(filepath.Join(dir, "api-key"), []byte("sk_other"), 0o600); err != nil {
		t.Fatal(err)
	}
	third := startDevOn(t, dir)
	if first.apiKey != second.apiKey || third.apiKey == first.apiKey {
		t.Errorf("the keys are %s, %s and, after the file was spoiled, %s", first.apiKey,
			second.apiKey, third.apiKey)
	}
}

// freeAddress is one where nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

var assignment = regexp.MustCompile(`^[A-Z_]+=\$\(`)

func TestReadmeCommandsPrintWhatItShows(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := transcript.Steps(string(readme))
	if len(shown) < 4 {
		t.Fatalf("the README shows %d commands", len(shown))
	}
	dev := startDevOn(t, newDataDir(t))
	here := strings.NewReplacer("127.0.0.1:8080", dev.address, "127.0.0.1:9000", freeAddress(t),
		"127.0.0.1:12111", dev.processor, "bin/paymentsvc", service.Binary(t))
	// each command has a shell of its own; what an earlier one assigned is assigned
	// again, and being idempotent is the same
	assigned := ""
	for _, s := range shown {
		command := here.Replace(s.Command)
		shell := exec.CommandContext(t.Context(), "bash", "-o", "pipefail", "-c", assigned+command)
		if assignment.MatchString(command) {
			assigned += command
		}
		shell.Env = append(os.Environ(), "API_KEY="+dev.apiKey)
		shell.Dir = "../.."
		printed, err := shell.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v", command, err)
		}
		if got, want := transcript.Mask(string(printed)), transcript.Mask(s.Output); got != want {
			t.Errorf("%s\nprints:\n%s\nThe README says:\n%s", command, got, want)
		}
	}
}
