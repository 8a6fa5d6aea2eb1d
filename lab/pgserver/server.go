// Package pgserver runs a Postgres server as a child process: for `paymentsvc dev`, and
// for tests.
//
// The server is an ordinary one. Its programs are those installed on this machine, or
// else downloaded ones (see FindBinaries and DownloadBinaries), and a durable server
// keeps Postgres's own defaults for everything that guards data. This package adds a
// life that needs no care:
//
//   - The server does not outlive its parent, not even after a SIGKILL of the parent (on
//     Linux; see process.Start).
//   - It listens on 127.0.0.1 only. The path of a Unix socket may have 107 bytes, fewer
//     than the temporary directories of some systems need. Other users of the machine can
//     reach the port, so it asks for a password.
//   - Postgres refuses to run as root. A root parent runs it as user postgres, else nobody.
//
// The whole state of a server is in its directory, so that a start there is a restart:
//
//	lock          held by the parent while its server runs here; holds the parent's pid
//	password      of the superuser; only the server's user can read it
//	data/         made by initdb or pg_basebackup; it has this name only when it is whole
//	postgres.log  the server's log
package pgserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"sync"
	"syscall"

	"github.com/paymentsvc/paymentsvc/lab/process"
)

var (
	// ErrInUse means that another server works on the data directory. The message has its
	// process id.
	ErrInUse = errors.New("data directory is in use")

	// ErrNotDirectory means that a file has the place of the data directory.
	ErrNotDirectory = errors.New("data directory is a file")

	// ErrNotRunning means that no server answers on the data directory.
	ErrNotRunning = errors.New("no server runs")

	// ErrNoBinaries means that this machine has no Postgres programs.
	ErrNoBinaries = errors.New("no Postgres programs (initdb, postgres)")

	// ErrClosedDirectory means that the server's user may not enter the data directory.
	ErrClosedDirectory = errors.New("data directory cannot be entered")

	// ErrVersion means that another major version of Postgres wrote the data.
	ErrVersion = errors.New("data of another Postgres version")

	// The next two pass by themselves, or on another port.
	errPredecessor = errors.New("a server of another parent is still there")
	errPortTaken   = errors.New("another process has the port")
)

// Options say which server to run.
type Options struct {
	DataDir    string            // made if absent; empty: defaultDataDir(), and durable
	Durable    bool              // false: fsync is off, which is faster, and for tests only
	Port       int               // 0: one that is free; a restart keeps it
	Parameters map[string]string // further server settings, as in postgres -c name=value
	Binaries   Binaries          // zero: found on this machine, else downloaded
	Logger     *slog.Logger      // nil: silent
	// Follow makes new data a copy of another server's, which it goes on following: a
	// standby, until pg_promote(). It needs pg_basebackup beside the binaries, which
	// downloaded ones lack.
	Follow *Server
}

// Server is a Postgres server that this process started. Its methods may be called from
// any goroutine.
type Server struct {
	options  Options
	dir      directory
	binaries Binaries
	account  account
	password string
	port     int

	mu      sync.Mutex // guards the fields below
	process *process.Process
}

// Start runs a server on o.DataDir, which it makes if absent, and returns once the server
// takes connections. The context bounds the start only. The server runs until Stop or
// until this process ends.
//
// A directory in use gives ErrInUse. Start waits for a previous server that is shutting
// down.
func Start(ctx context.Context, o Options) (*Server, error) {
	s, err := newServer(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("starting Postgres: %w", err)
	}
	if err := s.prepare(ctx); err != nil {
		return nil, s.during("preparing %s for Postgres: %w", err)
	}
	if err := s.launch(ctx); err != nil {
		return nil, s.during("starting Postgres in %s: %w", err)
	}
	return s, nil
}

// during adds the step that failed. A directory in use is not the step's fault.
func (s *Server) during(step string, err error) error {
	if errors.Is(err, ErrInUse) {
		return err
	}
	return fmt.Errorf(step, s.dir.path, err)
}

// newServer chooses the server's user, directory and programs.
func newServer(ctx context.Context, o Options) (*Server, error) {
	o, dir, err := o.complete()
	if err != nil {
		return nil, err
	}
	if err := makeEnterable(dir.path); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	account, err := accountFor(dir)
	if err != nil {
		return nil, err
	}
	binaries, err := binariesFor(ctx, o, dir)
	if err != nil {
		return nil, err
	}
	return &Server{options: o, dir: dir, account: account, binaries: binaries, port: o.Port}, nil
}

// complete sets the defaults.
func (o Options) complete() (Options, directory, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.DataDir == "" {
		dir, err := defaultDataDir()
		if err != nil {
			return o, directory{}, err
		}
		o.DataDir, o.Durable = dir, true // a developer's data must not be lost
	}
	dir, err := newDirectory(o.DataDir)
	return o, dir, err
}

// URL connects as the superuser. It holds the password, and stays the same over restarts.
func (s *Server) URL() string {
	return superuserURL(s.password, strconv.Itoa(s.port))
}

// RunningURL is the URL of the server that another process runs on o.DataDir. None
// gives ErrNotRunning. Only the server's user and root may read the password in it.
func RunningURL(o Options) (string, error) {
	_, dir, err := o.complete()
	if err != nil {
		return "", err
	}
	server := dir.postmaster()
	if server.status != "ready" || !server.alive() {
		return "", fmt.Errorf("%w on %s", ErrNotRunning, dir.path)
	}
	password, err := dir.password()
	if err != nil {
		return "", err
	}
	return superuserURL(password, server.port), nil
}

func superuserURL(password, port string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, password),
		Host:     net.JoinHostPort(host, port),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// DataDir is the server's directory.
func (s *Server) DataDir() string { return s.dir.path }

// LogPath is the server's log file.
func (s *Server) LogPath() string { return s.dir.logFile() }

// PID is the process id of the postmaster, the parent of all the server's processes. It
// changes with a restart.
func (s *Server) PID() int { return s.current().PID() }

// Done is closed when the postmaster has ended. A restart has a Done of its own.
func (s *Server) Done() <-chan struct{} { return s.current().Done() }

func (s *Server) current() *process.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

// Stop shuts the server down: open transactions are rolled back, and everything is
// written. It returns when the postmaster is gone. If the context ends before, it stops
// the server as StopImmediate does and returns the context's error. Stopping a stopped
// server does nothing.
func (s *Server) Stop(ctx context.Context) error {
	if err := s.current().Stop(ctx, syscall.SIGINT); err != nil {
		return fmt.Errorf("stopping Postgres: %w", err)
	}
	return nil
}

// StopImmediate stops the server without writing anything, as a crash of it would; the
// next start recovers from the write-ahead log. It returns when the postmaster is gone.
func (s *Server) StopImmediate(ctx context.Context) error {
	if err := s.current().Stop(ctx, syscall.SIGQUIT); err != nil {
		return fmt.Errorf("stopping Postgres at once: %w", err)
	}
	return nil
}

// Kill ends the postmaster with SIGKILL and waits for its end. The server's other
// processes notice within moments, on their own; Restart waits for them.
func (s *Server) Kill() error {
	if err := s.current().Stop(context.Background(), syscall.SIGKILL); err != nil {
		return fmt.Errorf("killing Postgres: %w", err)
	}
	return nil
}

// Restart starts the server again, on the same data, port and URL. A server that still
// runs is stopped first.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Stop(ctx); err != nil {
		return fmt.Errorf("restarting Postgres: %w", err)
	}
	if err := s.launch(ctx); err != nil {
		return fmt.Errorf("restarting Postgres in %s: %w", s.dir.path, err)
	}
	return nil
}
