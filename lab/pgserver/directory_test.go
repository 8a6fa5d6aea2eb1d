package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestDirectoryThatTheServerCannotEnterIsRefused(t *testing.T) {
	t.Parallel()
	closed := t.TempDir()
	want := fs.ErrPermission // our own user cannot make anything there
	mode := fs.FileMode(0o500)
	if os.Geteuid() == 0 {
		want, mode = ErrClosedDirectory, 0o700 // root can, but root's servant cannot go there
	}
	if err := os.Chmod(closed, mode); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Options{DataDir: filepath.Join(closed, "inner", "data")})
	if !errors.Is(err, want) {
		t.Fatalf("starting in a closed directory gave %v, want %v", err, want)
	}
	if errors.Is(want, ErrClosedDirectory) && !strings.Contains(err.Error(), "/var/lib") {
		t.Errorf("the error proposes no other place: %v", err)
	}
}

func TestServerIsNotRunByRoot(t *testing.T) {
	t.Parallel()
	dir, _ := started(t, Options{})
	info, err := os.Stat(dir.data())
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	if owner == 0 {
		t.Error("the data belongs to root")
	}
	if us := uint32(os.Geteuid()); us != 0 && owner != us {
		t.Errorf("the data belongs to user %d, not to us", owner)
	}
}

func TestDataOfAnotherVersionIsRefused(t *testing.T) {
	t.Parallel()
	dir := emptyDirectory(t)
	if err := os.Mkdir(dir.data(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir.data(), "PG_VERSION"), []byte("8\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // or it would be refused for belonging to root
		if err := os.Chown(dir.data(), 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Start(t.Context(), Options{DataDir: dir.path})
	if !errors.Is(err, ErrVersion) {
		t.Fatalf("starting on data of version 8 gave %v, want %v", err, ErrVersion)
	}
}

func TestInitialisationThatWasKilledIsBegunAnew(t *testing.T) {
	t.Parallel()
	dir := emptyDirectory(t)
	if err := os.MkdirAll(filepath.Join(dir.unfinished(), "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir.passwordFile(), []byte("of yesterday"), 0o600); err != nil {
		t.Fatal(err)
	}
	started(t, Options{DataDir: dir.path})
	if _, err := os.Stat(dir.unfinished()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the unfinished data is still there: %v", err)
	}
}

func TestStalePostmasterFileIsNoObstacle(t *testing.T) {
	t.Parallel()
	dir, s := started(t, Options{})
	content, err := os.ReadFile(filepath.Join(dir.data(), "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if left := dir.postmaster(); !strings.HasPrefix(string(content), left.pid) {
		t.Errorf("a killed server left %+v, want its own process id", left)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestDefaultDataDirIsWhereTheUserKeepsData(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	want := map[string]string{
		"":           filepath.Join(home, ".local", "share", "paymentsvc", "postgres"),
		"relative":   filepath.Join(home, ".local", "share", "paymentsvc", "postgres"),
		"/elsewhere": "/elsewhere/paymentsvc/postgres",
	}
	for data, want := range want {
		t.Setenv("XDG_DATA_HOME", data)
		if os.Geteuid() == 0 {
			// whatever root's variables say: the server is not root
			want = "/var/lib/paymentsvc/postgres"
		}
		if got, err := DefaultDataDir(); err != nil || got != want {
			t.Errorf("with XDG_DATA_HOME=%s it is %s (%v), want %s", data, got, err, want)
		}
	}
}

// started runs a server for one test, seen from inside.
func started(t *testing.T, o Options) (directory, *Server) {
	t.Helper()
	if o.DataDir == "" {
		o.DataDir = emptyDirectory(t).path
	}
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return s.dir, s
}

// emptyDirectory is one that root's servant may enter, which t.TempDir is not.
func emptyDirectory(t *testing.T) directory {
	t.Helper()
	dir := directory{path: filepath.Join(ScratchDir(), "paymentsvc-embedded-"+rand.Text())}
	if err := makeEnterable(dir.path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Remove(dir.path); err != nil {
			t.Error(err)
		}
	})
	return dir
}
