package pgtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
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
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the temporary directory still has %v, %v", left, err)
	}
}

func TestMainFailsAPackageThatLeaksAGoroutine(t *testing.T) {
	t.Parallel()
	output, _, err := rerun(t, "a leak")
	if err == nil || !strings.Contains(output, "left goroutines behind") {
		t.Errorf("a leak gave %v and\n%s", err, output)
	}
}

func TestForgottenDirectoriesAreRemoved(t *testing.T) {
	t.Parallel()
	parent := enterable(t)
	now := time.Now()
	yesterday := now.Add(-25 * time.Hour)
	for name, row := range map[string]struct {
		changed time.Time
		stays   bool
	}{
		dirPrefix + "forgotten": {yesterday, false}, dirPrefix + "recent": {now, true},
		"of another program": {yesterday, true},
	} {
		dir := filepath.Join(parent, name)
		if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, row.changed, row.changed); err != nil {
			t.Fatal(err)
		}
		removeForgotten(parent, now)
		if _, err := os.Stat(dir); (err == nil) != row.stays {
			t.Errorf("%s is there: %t, want %t", name, err == nil, row.stays)
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
