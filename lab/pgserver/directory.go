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

// directory is a server's directory; the package comment lists its files.
type directory struct{ path string }

// defaultDataDir is the place for a developer's own data: the one that the XDG Base
// Directory Specification names. Root's server, which is another user, needs another.
func defaultDataDir() (string, error) {
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
	release, err := dir.lock()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("removing %s: %w", dataDir, err)
	}
	if server := dir.postmaster(); server.alive() { // and its parent is dead
		err = fmt.Errorf("removing %s: %w by process %s", dataDir, ErrInUse, server.pid)
		return errors.Join(err, release())
	}
	return errors.Join(os.RemoveAll(dir.path), release())
}

// ScratchDir is the cheapest place for a server whose data is thrown away. It is in
// memory if the machine has plenty (on Linux, where initdb and cloning databases took
// less than half of the time), else among the temporary files. A TMPDIR decides it.
func ScratchDir() string {
	const (
		memory = "/dev/shm"
		// Several servers run at a time, with some hundred MB each. A container has 64 MB
		// by default.
		plenty = 4 << 30
	)
	var space syscall.Statfs_t
	if os.Getenv("TMPDIR") != "" || syscall.Statfs(memory, &space) != nil {
		return os.TempDir()
	}
	//nolint:unconvert // other systems have other types
	if uint64(space.Bavail)*uint64(space.Bsize) < plenty {
		return os.TempDir()
	}
	return memory
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

// makeEnterable makes the missing directories of a path. Only the owner may list them.
// If the owner is root, the server's user may pass through them: the files inside have
// modes of their own.
func makeEnterable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("%w: %s: remove that file, or choose another directory",
			ErrNotDirectory, path)
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
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

// postmasterStatus is a server's entry in its directory.
type postmasterStatus struct{ pid, port, status string }

// postmaster reads postmaster.pid. Its first line is the process id, the fourth the
// port, and the eighth the status, padded with blanks (miscadmin.h,
// LOCK_FILE_LINE_PM_STATUS). A killed server leaves its entry behind.
func (d directory) postmaster() postmasterStatus {
	content, err := os.ReadFile(filepath.Join(d.data(), "postmaster.pid"))
	if err != nil {
		return postmasterStatus{pid: "(none yet)"}
	}
	lines := append(strings.Split(string(content), "\n"), make([]string, 8)...)
	return postmasterStatus{pid: lines[0], port: lines[3], status: strings.TrimSpace(lines[7])}
}

// alive tells a server from the entry of one that was killed.
func (p postmasterStatus) alive() bool {
	pid, err := strconv.Atoi(p.pid)
	return err == nil && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}
