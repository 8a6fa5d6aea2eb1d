package pgserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	host      = "127.0.0.1"
	superuser = "postgres"

	// A server whose parent was killed shuts down within a second or two, unless it has
	// much to write.
	predecessorPatience = 15 * time.Second

	// A port of our choice is ours but for accidents: another process that tries it at
	// this moment.
	portPatience = 2 * time.Second

	// How often to look at a condition that nobody announces. A start takes about a
	// third of a second.
	pollInterval = 10 * time.Millisecond

	// Postgres's default, 100, is little for parallel tests with a pool each.
	connectionsMax = "200"
)

// launch runs the postmaster and returns when it answers. What passes by itself is
// waited for: a previous server on its way out, or a port that another process has for
// the moment.
func (s *Server) launch(ctx context.Context) error {
	choosePort := s.port == 0
	var obstacle error
	for began := time.Now(); ; {
		if choosePort {
			s.port = int(freePort())
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

// attempt runs the postmaster once. The lock on the directory is kept for as long as
// the postmaster lives.
func (s *Server) attempt(ctx context.Context) error {
	lock, err := s.dir.lock()
	if err != nil {
		return err
	}
	log, err := s.dir.openLog()
	if err != nil {
		return errors.Join(err, lock.release())
	}
	defer log.Close() //nolint:errcheck // the postmaster has its own, and it is the one who writes
	p, err := startProcess(s.command(log.File), func(p *process) {
		_ = lock.release()
		if !p.asked.Load() {
			s.options.Logger.Warn("Postgres ended by itself", "pid", p.pid(), "how", p.err, "log",
				s.LogPath())
		}
	})
	if err != nil {
		return errors.Join(fmt.Errorf("running %s: %w", s.binaries.postgres(), err),
			lock.release())
	}
	if err := s.awaitReady(ctx, p, log); err != nil {
		return errors.Join(err, p.stop(context.Background(), syscall.SIGQUIT))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = p
	s.options.Logger.Info("Postgres runs", "pid", p.pid(), "port", s.port, "directory", s.dir.path)
	return nil
}

// command is the postmaster's. What it says goes straight to a file: a pipe would need
// somebody to read it, and would be held open by the server's other processes after the
// postmaster was killed.
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
	return s.child(log, s.binaries.postgres(), args...)
}

// child is a command that runs as the server's user, in its directory, and ends when we
// do. Variables such as PGDATA and PGPORT, meant for another server, are kept from it,
// and its messages are English: diagnose reads them.
func (s *Server) child(output *os.File, program string, args ...string) *exec.Cmd {
	command := exec.Command(program, args...)
	command.Dir = s.dir.path
	command.Stdout, command.Stderr = output, output
	command.SysProcAttr = childAttributes(s.account.credential)
	foreign := func(variable string) bool {
		return strings.HasPrefix(variable, "PG") || strings.HasPrefix(variable, "LC_")
	}
	command.Env = append(slices.DeleteFunc(os.Environ(), foreign), "LC_ALL=C")
	return command
}

// awaitReady waits until the postmaster says, in the file that pg_ctl reads too, that
// it takes connections. Another server's answer on the same port cannot be mistaken for
// it.
func (s *Server) awaitReady(ctx context.Context, p *process, log *serverLog) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			return s.diagnose(fmt.Errorf("Postgres ended at its start: %w", p.err), log)
		case <-ctx.Done():
			return s.diagnose(fmt.Errorf("waiting for Postgres to answer: %w", ctx.Err()), log)
		case <-tick.C:
		}
		if now := s.dir.postmaster(); now.pid == strconv.Itoa(p.pid()) && now.status == "ready" {
			return nil
		}
	}
}

// diagnose explains a start that failed with err. Only the log knows why.
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

// freePort finds a port below those from which systems choose the local ports of
// outgoing connections (32768 on Linux, 49152 elsewhere). Above, a client that dials
// the port of a stopped server again and again is in the end connected to itself, and
// keeps the server from coming back.
func freePort() uint32 {
	for range 1000 {
		port := 15000 + rand.Uint32N(17000) // a guess that is checked, not a secret
		listener, err := net.Listen("tcp", fmt.Sprintf("%s:%d", host, port))
		if err == nil {
			_ = listener.Close()
			return port
		}
	}
	return 0 // the postmaster refuses it and says so
}
