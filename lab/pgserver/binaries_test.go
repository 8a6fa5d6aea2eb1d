package pgserver

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestDataIsServedByProgramsOfItsOwnVersion(t *testing.T) {
	t.Parallel()
	client, old, recent := t.TempDir(), installation(t, "15.13 (Debian 15.13-0+deb12u1)"),
		installation(t, "18beta1")
	for _, row := range []struct {
		name       string
		candidates []string
		wanted     string
		want       Binaries
	}{
		{"new data gets the first there is", []string{recent, old}, "", Binaries{recent, "18"}},
		{"old data gets its own", []string{recent, old}, "15", Binaries{old, "15"}},
		{
			"data of no installed version gets the first, to be told",
			[]string{recent, old},
			"14",
			Binaries{recent, "18"},
		},
		{
			"a directory without a server is passed over",
			[]string{client, old},
			"",
			Binaries{old, "15"},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got, err := findBinaries(t.Context(), row.candidates, row.wanted)
			if err != nil || got != row.want {
				t.Errorf("found %v (%v), want %v", got, err, row.want)
			}
		})
	}
	if _, err := findBinaries(t.Context(), []string{client}, ""); !errors.Is(err, ErrNoBinaries) {
		t.Errorf("where there are none, the error is %v, want %v", err, ErrNoBinaries)
	}
}

func TestNewestInstallationComesFirst(t *testing.T) {
	t.Parallel()
	paths := []string{
		"/usr/lib/postgresql/9.6/bin", "/usr/lib/postgresql/17/bin",
		"/usr/lib/postgresql/15/bin",
	}
	slices.SortFunc(paths, newestFirst)
	want := []string{
		"/usr/lib/postgresql/17/bin", "/usr/lib/postgresql/15/bin",
		"/usr/lib/postgresql/9.6/bin",
	}
	if !slices.Equal(paths, want) {
		t.Errorf("the order is %v, want %v", paths, want)
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
