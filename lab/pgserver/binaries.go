package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Binaries is a directory with Postgres's programs; the zero value is none.
type Binaries struct {
	dir     string
	version string // major version, for example "17"
}

func (b Binaries) initdb() string   { return b.Program("initdb") }
func (b Binaries) postgres() string { return b.Program("postgres") }

// Program is where a program of that name would be, for example "pgbench". Only initdb
// and postgres are known to be there.
func (b Binaries) Program(name string) string { return filepath.Join(b.dir, name) }

// Version is the programs' major version, for example "17".
func (b Binaries) Version() string { return b.version }

// FindBinaries looks for Postgres on this machine: on the PATH, in the directory that
// pg_config names, and in those of Debian, Red Hat, Homebrew and Postgres.app, the newest
// first. None gives ErrNoBinaries.
func FindBinaries(ctx context.Context) (Binaries, error) {
	return findBinaries(ctx, candidates(ctx), "")
}

// binariesFor finds the programs for a server. Data that exists needs those of its own
// major version.
func binariesFor(ctx context.Context, o Options, dir directory) (Binaries, error) {
	wanted, err := dir.version()
	if err != nil {
		return Binaries{}, err
	}
	binaries := o.Binaries
	if binaries == (Binaries{}) {
		binaries, err = findBinaries(ctx, candidates(ctx), wanted)
	}
	if errors.Is(err, ErrNoBinaries) {
		notFound := err
		if binaries, err = DownloadBinaries(ctx); err != nil {
			err = fmt.Errorf("%w; %w. Install PostgreSQL, or allow its download from "+
				"Maven Central (tests can also use Docker)", notFound, err)
		}
	}
	if err != nil {
		return Binaries{}, err
	}
	if wanted != "" && binaries.version != wanted {
		return Binaries{}, fmt.Errorf(
			"%w: %s was made by Postgres %s, and %s has version %s; install that version, or use"+
				" another data directory", ErrVersion, dir.path, wanted, binaries.dir,
			binaries.version)
	}
	return binaries, nil
}

// findBinaries is the first candidate of the wanted version, or else the first.
func findBinaries(ctx context.Context, candidates []string, wanted string) (Binaries, error) {
	var first Binaries
	for _, dir := range candidates {
		binaries, err := inspect(ctx, dir)
		if err != nil {
			continue // an incomplete installation, such as Debian's client package
		}
		if wanted == "" || binaries.version == wanted {
			return binaries, nil
		}
		if first == (Binaries{}) {
			first = binaries
		}
	}
	if first == (Binaries{}) {
		return first, fmt.Errorf("%w in %s", ErrNoBinaries, strings.Join(candidates, ", "))
	}
	return first, nil
}

func candidates(ctx context.Context) []string {
	var dirs []string
	if initdb, err := exec.LookPath("initdb"); err == nil {
		// a link may stand alone, without the other programs
		if file, err := filepath.EvalSymlinks(initdb); err == nil {
			initdb = file
		}
		dirs = append(dirs, filepath.Dir(initdb))
	}
	if bindir, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(bindir)))
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",                               // Debian, Ubuntu
		"/usr/pgsql-*/bin",                                        // Red Hat
		"/opt/homebrew/opt/postgresql@*/bin",                      // Homebrew on Apple silicon
		"/usr/local/opt/postgresql@*/bin",                         // Homebrew on Intel
		"/Applications/Postgres.app/Contents/Versions/[0-9]*/bin", // Postgres.app
	} {
		found, _ := filepath.Glob(pattern)
		slices.SortFunc(found, newestFirst)
		dirs = append(dirs, found...)
	}
	return dirs
}

var number = regexp.MustCompile(`\d+`)

// newestFirst compares by the last number of a path, so that 17 comes before 9.
func newestFirst(a, b string) int {
	version := func(path string) int {
		numbers := number.FindAllString(path, -1)
		if len(numbers) == 0 {
			return 0
		}
		n, _ := strconv.Atoi(numbers[len(numbers)-1])
		return n
	}
	return version(b) - version(a)
}

// inspect makes sure that both programs are there, and asks for the version.
func inspect(ctx context.Context, dir string) (Binaries, error) {
	b := Binaries{dir: dir}
	if _, err := os.Stat(b.initdb()); err != nil {
		return Binaries{}, fmt.Errorf("looking for initdb: %w", err)
	}
	output, err := exec.CommandContext(ctx, b.postgres(), "--version").Output()
	if err != nil {
		return Binaries{}, fmt.Errorf("asking %s for its version: %w", b.postgres(), err)
	}
	// "postgres (PostgreSQL) 15.13 (Debian …)", "… 18beta1"
	b.version = number.FindString(string(output))
	if b.version == "" {
		return Binaries{}, fmt.Errorf("asking %s for its version: it said %q", b.postgres(),
			output)
	}
	return b, nil
}
