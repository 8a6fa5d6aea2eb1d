package pgserver

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDirectoryThatTheServerCannotEnterIsRefused(t *testing.T) {
	t.Parallel()
	closed := t.TempDir()
	want, mode := fs.ErrPermission, fs.FileMode(0o500)
	if os.Geteuid() == 0 { // root can write there, but the server's user cannot enter
		want, mode = ErrClosedDirectory, 0o700
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

func TestDataOfAnotherVersionIsRefused(t *testing.T) {
	t.Parallel()
	dir := directory{dataDir(t)}
	if err := os.Mkdir(dir.data(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir.data(), "PG_VERSION"), []byte("8\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // data of root is refused for another reason
		if err := os.Chown(dir.data(), 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Start(t.Context(), Options{DataDir: dir.path})
	if !errors.Is(err, ErrVersion) {
		t.Fatalf("starting on data of version 8 gave %v, want %v", err, ErrVersion)
	}
}

func TestKilledInitialisationIsBegunAnew(t *testing.T) {
	t.Parallel()
	dir := directory{dataDir(t)}
	if err := os.MkdirAll(filepath.Join(dir.unfinished(), "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir.passwordFile(), []byte("of yesterday"), 0o600); err != nil {
		t.Fatal(err)
	}
	keep(t, start(t, Options{DataDir: dir.path}), "new")
}

func TestDefaultDataDir(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	want := map[string]string{
		"":           filepath.Join(home, ".local", "share", "paymentsvc", "postgres"),
		"relative":   filepath.Join(home, ".local", "share", "paymentsvc", "postgres"),
		"/elsewhere": "/elsewhere/paymentsvc/postgres",
	}
	for data, want := range want {
		t.Setenv("XDG_DATA_HOME", data)
		if os.Geteuid() == 0 { // the server is another user
			want = "/var/lib/paymentsvc/postgres"
		}
		if got, err := defaultDataDir(); err != nil || got != want {
			t.Errorf("with XDG_DATA_HOME=%s it is %s (%v), want %s", data, got, err, want)
		}
	}
}
