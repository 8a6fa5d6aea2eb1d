package pgserver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// directory is where a server lives; the package comment says what is in it.
type directory struct{ path string }

// DefaultDataDir is the place for a developer's own data: where root's server can go
// for root, and where the XDG Base Directory Specification says for everybody else.
func DefaultDataDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/paymentsvc/postgres", nil
	}
	// the specification ignores relative paths
	if data := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(data) {
		return filepath.Join(data, "paymentsvc", "postgres"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("choosing a data directory: %w", err)
	}
	return filepath.Join(home, ".local", "share", "paymentsvc", "postgres"), nil
}

// Remove deletes a server's directory with all its data, unless a server runs there:
// then it gives ErrInUse.
func Remove(dataDir string) error {
	dir, err := newDirectory(dataDir)
	if err != nil {
		return err
	}
	lock, err := dir.lock()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("removing %s: %w", dataDir, err)
	}
	if server := dir.postmaster(); server.alive() { // and its parent is dead
		err = fmt.Errorf("removing %s: %w by process %s", dataDir, ErrInUse, server.pid)
		return errors.Join(err, lock.release())
	}
	return errors.Join(os.RemoveAll(dir.path), lock.release())
}

func newDirectory(path string) (directory, error) {
	path, err := filepath.Abs(path) // the server's processes have another working directory
	if err != nil {
		return directory{}, fmt.Errorf("finding the data directory: %w", err)
	}
	return directory{path: path}, nil
}

func (d directory) data() string         { return filepath.Join(d.path, "data") }
func (d directory) unfinished() string   { return filepath.Join(d.path, "data.unfinished") }
func (d directory) passwordFile() string { return filepath.Join(d.path, "password") }
func (d directory) lockFile() string     { return filepath.Join(d.path, "lock") }
func (d directory) logFile() string      { return filepath.Join(d.path, "postgres.log") }

// version is the major version of Postgres that made the data, empty if there is none.
func (d directory) version() (string, error) {
	version, err := os.ReadFile(filepath.Join(d.data(), "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the data's version: %w", err)
	}
	return strings.TrimSpace(string(version)), nil
}

// create makes the directory. It refuses a place where a, who is to run the server,
// cannot go.
func (d directory) create(a account) error {
	for place := d.path; ; place = filepath.Dir(place) {
		info, err := os.Stat(place)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("looking at the data directory: %w", err)
		}
		if err == nil && !a.mayEnter(info) {
			return fmt.Errorf(
				"%w: user %s, who is to run Postgres, may not enter %s (mode %v): choose a data "+
					"directory"+
					" outside, for example below /var/lib, or open that one with chmod o+x",
				ErrClosedDirectory, a.name, place, info.Mode())
		}
		if place == filepath.Dir(place) {
			break
		}
	}
	if err := makeEnterable(d.path); err != nil {
		return fmt.Errorf("making the data directory: %w", err)
	}
	return nil
}

// makeEnterable makes what is missing of a path. Nobody but the owner may list what it
// made; others may pass if they are root's servants, because everything inside that is
// worth protecting has a mode of its own.
func makeEnterable(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makeEnterable(filepath.Dir(path)); err != nil {
		return err
	}
	mode := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711
	}
	if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Chmod(path, mode) // whatever the umask is
}

// postmasterStatus is what a server says about itself in its directory.
type postmasterStatus struct{ pid, port, status string }

// postmaster reads postmaster.pid. Its first line is the process id, the fourth the
// port, and the eighth the status, padded with blanks (miscadmin.h,
// LOCK_FILE_LINE_PM_STATUS). It may be of a server that was killed.
func (d directory) postmaster() postmasterStatus {
	content, err := os.ReadFile(filepath.Join(d.data(), "postmaster.pid"))
	if err != nil {
		return postmasterStatus{pid: "(none yet)"}
	}
	lines := append(strings.Split(string(content), "\n"), make([]string, 8)...)
	return postmasterStatus{pid: lines[0], port: lines[3], status: strings.TrimSpace(lines[7])}
}

// alive tells a server from the remains of one that was killed.
func (p postmasterStatus) alive() bool {
	pid, err := strconv.Atoi(p.pid)
	return err == nil && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}
