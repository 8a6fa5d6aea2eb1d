package pgtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/pgserver"
)

func TestPackageWithoutMainIsToldToAddIt(t *testing.T) {
	t.Parallel()
	forgetful := &testRun{}
	fake := inFake(t, func(tb testing.TB) { forgetful.adminURL(tb) })
	fake.wantComplaint(t, "func TestMain(m *testing.M) { pgtest.Main(m) }")
}

func TestMainLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	output, dir, err := rerun(t, "a test with a database")
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("%d entries were left in the temporary directory, the first is %s", len(left),
			left[0])
	}
}

func TestMainFailsAPackageThatLeaksAGoroutine(t *testing.T) {
	t.Parallel()
	output, _, err := rerun(t, "a leak")
	if err == nil || !strings.Contains(output, "left goroutines behind") {
		t.Errorf("a leak gave %v and\n%s", err, output)
	}
}

func TestForgottenDirectoriesWithoutAServerAreRemoved(t *testing.T) {
	t.Parallel()
	parent := enterable(t)
	now := time.Now()
	forgotten, recent, foreign := filepath.Join(parent, dirPrefix+"1"),
		filepath.Join(parent, dirPrefix+"2"), filepath.Join(parent, "other")
	for _, dir := range []string{forgotten, recent, foreign} {
		if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	used := filepath.Join(parent, dirPrefix+"3")
	s, err := pgserver.Start(t.Context(), pgserver.Options{DataDir: used})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop(context.Background()) //nolint:errcheck // its directory is removed
	yesterday := now.Add(-25 * time.Hour)
	for _, dir := range []string{forgotten, foreign, used} {
		if err := os.Chtimes(dir, yesterday, yesterday); err != nil {
			t.Fatal(err)
		}
	}
	removeForgotten(parent, now)
	for dir, want := range map[string]bool{
		forgotten: false, recent: true, foreign: true,
		used: true,
	} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s is there: %t, want %t", dir, err == nil, want)
		}
	}
}

// again is an environment variable of this program's second run: the task of
// TestInASecondRun.
const again = "PGTEST_AGAIN"

func TestInASecondRun(t *testing.T) {
	switch os.Getenv(again) {
	case "a test with a database":
		New(t)
	case "a leak":
		go func() { select {} }()
	}
}

// rerun runs this test program again, with a temporary directory of its own.
func rerun(t *testing.T, do string) (output, tempDir string, err error) {
	t.Helper()
	tempDir = enterable(t)
	command := exec.Command(os.Args[0], "-test.run=^TestInASecondRun$")
	command.Env = append(os.Environ(), again+"="+do, "TMPDIR="+tempDir, "TEST_POSTGRES=local",
		"GORACE=atexit_sleep_ms=0")
	said, err := command.CombinedOutput()
	return string(said), tempDir, err
}

// enterable is a temporary directory that another user may enter, as root's Postgres
// has to; t.TempDir is closed.
func enterable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgtest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}
