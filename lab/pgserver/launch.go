package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/process"
)

const (
	host      = "127.0.0.1"
	superuser = "postgres"
	database  = "paymentsvc"

	// A server whose parent was killed shuts down within a second or two, unless it has
	// much to write.
	predecessorPatience = 15 * time.Second

	// Another process may take a chosen port at the same moment.
	portPatience = 2 * time.Second

	// A start takes about a third of a second.
	pollInterval = 10 * time.Millisecond

	// Postgres's default, 100, is little for parallel tests with a pool each.
	connectionsMax = "200"
)

// launch runs the postmaster and returns when it answers. It waits for a previous server
// to end, and for a port that another process has for the moment.
func (s *Server) launch(ctx context.Context) error {
	choosePort := s.port == 0
	var obstacle error
	for began := time.Now(); ; {
		if choosePort {
			s.port = int(process.FreePort())
		}
		err := s.attempt(ctx)
		if err == nil {
			return nil
		}
		waited := time.Since(began)
		passes := errors.Is(err, errPredecessor) && waited < predecessorPatience ||
			errors.Is(err, errPortTaken) && waited < portPatience
		if !passes {
			return errors.Join(err, obstacle)
		}
		obstacle = err
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), obstacle)
		case <-time.After(10 * pollInterval):
		}
	}
}

// attempt runs the postmaster once, and keeps the directory locked while it lives.
func (s *Server) attempt(ctx context.Context) error {
	release, err := s.dir.lock()
	if err != nil {
		return err
	}
	log, err := s.dir.openLog()
	if err != nil {
		return errors.Join(err, release())
	}
	defer log.Close() //nolint:errcheck // only the postmaster writes, through a copy of its own
	p, err := process.Start(s.command(log.File), func(p *process.Process) {
		_ = release()
		if !p.Asked() {
			s.options.Logger.Warn("Postgres ended by itself", "pid", p.PID(), "how", p.Err(),
				"log", s.LogPath())
		}
	})
	if err != nil {
		return errors.Join(fmt.Errorf("running %s: %w", s.binaries.postgres(), s.explain(err)),
			release())
	}
	if err := s.awaitReady(ctx, p, log); err != nil {
		return errors.Join(err, p.Stop(context.Background(), syscall.SIGQUIT))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = p
	s.options.Logger.Info("Postgres runs", "pid", p.PID(), "port", s.port, "directory", s.dir.path)
	return nil
}

// command is the postmaster's. Its output goes straight to a file. The server's other
// processes would hold a pipe open after the postmaster was killed.
func (s *Server) command(log *os.File) *exec.Cmd {
	settings := map[string]string{
		"listen_addresses":        host,
		"port":                    strconv.Itoa(s.port),
		"unix_socket_directories": "",
		"max_connections":         connectionsMax,
	}
	if !s.options.Durable {
		settings["fsync"] = "off"
		settings["full_page_writes"] = "off"
		settings["max_wal_size"] = "256MB" // it may lie in memory
	}
	maps.Copy(settings, s.options.Parameters)
	args := []string{"-D", s.dir.data()}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	command := s.child(context.Background(), s.binaries.postgres(), args...)
	command.Stdout, command.Stderr = log, log
	return command
}

// child is a command that runs as the server's user, in its directory, and ends when this
// process does. It does not get variables such as PGDATA and PGPORT, which are meant for
// another server. Its messages are English, because diagnose reads them.
func (s *Server) child(ctx context.Context, program string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, program, args...)
	command.Dir = s.dir.path
	// SIGINT is a fast shutdown.
	command.SysProcAttr = process.Attributes(s.account.credential, syscall.SIGINT)
	foreign := func(variable string) bool {
		return strings.HasPrefix(variable, "PG") || strings.HasPrefix(variable, "LC_")
	}
	command.Env = append(slices.DeleteFunc(os.Environ(), foreign), "LC_ALL=C")
	return command
}

// explain adds the remedy where the server's user may not enter the directory. The kernel
// then says "permission denied" and names the program.
func (s *Server) explain(err error) error {
	if !errors.Is(err, fs.ErrPermission) || s.account.credential == nil {
		return err
	}
	return fmt.Errorf("%w: user %s, who runs Postgres, may not enter %s: choose a data directory"+
		" outside, for example below /var/lib, or open the path with chmod o+x: %w",
		ErrClosedDirectory, s.account.name, s.dir.path, err)
}

// awaitReady waits until the postmaster's entry, which pg_ctl reads too, says that it
// takes connections. A connection attempt could reach another server on the same port.
func (s *Server) awaitReady(ctx context.Context, p *process.Process, log *serverLog) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-p.Done():
			return s.diagnose(fmt.Errorf("Postgres ended at its start: %w", p.Err()), log)
		case <-ctx.Done():
			return s.diagnose(fmt.Errorf("waiting for Postgres to answer: %w", ctx.Err()), log)
		case <-tick.C:
		}
		if now := s.dir.postmaster(); now.pid == strconv.Itoa(p.PID()) && now.status == "ready" {
			return nil
		}
	}
}

// diagnose finds the cause of a failed start in the log.
func (s *Server) diagnose(err error, log *serverLog) error {
	said := log.tail()
	err = fmt.Errorf("%w. It said:\n%s", err, said)
	switch {
	case strings.Contains(said, `lock file "postmaster.pid" already exists`), // it is alive
		// it was killed, and its children are not done yet
		strings.Contains(said, "pre-existing shared memory block"):
		return fmt.Errorf("%w: %w, process %s: %w", ErrInUse, errPredecessor,
			s.dir.postmaster().pid, err)
	case strings.Contains(said, "could not bind"):
		return fmt.Errorf("%w: %w", errPortTaken, err)
	}
	return err
}
