package pgserver

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestDataOfAnotherVersionIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	version := filepath.Join(s.dir.data(), "PG_VERSION")
	if err := os.WriteFile(version, []byte("8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Options{DataDir: s.dir.path}); !errors.Is(err, ErrVersion) {
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

func TestOldDataIsServedByProgramsOfItsVersion(t *testing.T) {
	t.Parallel()
	old, recent := installation(t, "15.13 (Debian 15.13-0+deb12u1)"), installation(t, "18beta1")
	got, err := findBinaries(t.Context(), []string{recent, old}, "15")
	if want := (Binaries{old, "15"}); err != nil || got != want {
		t.Errorf("found %v (%v), want %v", got, err, want)
	}
}

// installation is a directory with programs that only know their version.
func installation(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	for _, program := range []string{"initdb", "postgres"} {
		script := "#!/bin/sh\necho '" + program + " (PostgreSQL) " + version + "'\n"
		if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
