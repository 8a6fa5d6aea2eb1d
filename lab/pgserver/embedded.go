// Package pgserver runs a Postgres server as a child process: for `paymentsvc dev`, and
// for tests.
//
// The server is an ordinary one. Its programs are those installed on this machine, or
// else downloaded ones (see FindBinaries and DownloadBinaries), and a durable server
// keeps Postgres's own defaults for everything that guards data. What this package adds
// is a life that nobody has to look after:
//
//   - The server does not outlive its parent, not even one that was killed with SIGKILL (on Linux; see startProcess).
//   - It listens on 127.0.0.1 only, and not on a Unix socket, whose path may have 107 bytes, fewer than the temporary
//     directories of some systems need. Other users of the machine can reach the port, so it asks for a password.
//   - Postgres refuses to run as root. A root parent runs it as user postgres, else nobody.
//
// All that is known of a server is in its directory, so that starting again there is a
// restart:
//
//	lock          held by the parent for as long as its server runs here; says who that is
//	password      of the superuser: random or that of the server it follows, and for the server's user only
//	data/         what initdb made or pg_basebackup copied; it has this name only when it is whole
//	postgres.log  what the server said
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
	"time"

	"github.com/jackc/pgx/v5"
)

// Options say which server to run.
type Options struct {
	DataDir    string            // made if absent; empty: DefaultDataDir(), and durable
	Durable    bool              // false: fsync is off, which is faster, and for tests only
	Port       int               // 0: one that is free; a restart keeps it
	Database   string            // made if absent; empty: "paymentsvc"
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

	mu      sync.Mutex // guards what follows
	process *process
}

// Start runs a server on o.DataDir, which it prepares if need be, and returns once the
// server answers queries. The context bounds the start only; the server runs until Stop
// or until this process ends, however it ends.
//
// A directory in use gives ErrInUse. A previous server that is still on its way out is
// waited for.
func Start(ctx context.Context, o Options) (*Server, error) {
	s, err := newServer(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("starting Postgres: %w", err)
	}
	if err := s.prepare(ctx); err != nil {
		return nil, fmt.Errorf("preparing %s for Postgres: %w", s.dir.path, err)
	}
	if err := s.launch(ctx); err != nil {
		return nil, fmt.Errorf("starting Postgres in %s: %w", s.dir.path, err)
	}
	if err := s.ensureDatabase(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting Postgres in %s: %w", s.dir.path, err),
			s.StopImmediate(ctx))
	}
	return s, nil
}

// newServer decides who runs the server, where, and from which programs.
func newServer(ctx context.Context, o Options) (*Server, error) {
	o, dir, err := o.complete()
	if err != nil {
		return nil, err
	}
	account, err := accountFor(dir)
	if err != nil {
		return nil, err
	}
	if err := dir.create(account); err != nil {
		return nil, err
	}
	binaries, err := binariesFor(ctx, o, dir)
	if err != nil {
		return nil, err
	}
	return &Server{options: o, dir: dir, account: account, binaries: binaries, port: o.Port}, nil
}

// complete fills in what the caller left open.
func (o Options) complete() (Options, directory, error) {
	if o.Database == "" {
		o.Database = "paymentsvc"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.DataDir == "" {
		dir, err := DefaultDataDir()
		if err != nil {
			return o, directory{}, err
		}
		o.DataDir, o.Durable = dir, true // nobody keeps there what may be lost
	}
	dir, err := newDirectory(o.DataDir)
	return o, dir, err
}

// URL connects as the superuser to Options.Database. It holds the password, and stays
// the same over restarts.
func (s *Server) URL() string {
	return superuserURL(s.password, strconv.Itoa(s.port), s.options.Database)
}

// RunningURL is the URL of the server that another process runs on o.DataDir. None
// gives ErrNotRunning. Only who may read the password, which is the server's user and
// root, learns the URL.
func RunningURL(o Options) (string, error) {
	o, dir, err := o.complete()
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
	return superuserURL(password, server.port, o.Database), nil
}

func superuserURL(password, port, database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, password),
		Host:     net.JoinHostPort(host, port),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// LogPath is the file with everything that the server said.
func (s *Server) LogPath() string { return s.dir.logFile() }

// PID is the process id of the postmaster, the parent of all the server's processes. It
// changes with a restart.
func (s *Server) PID() int { return s.current().pid() }

// Done is closed when the postmaster has died, for whatever reason. A restart has a
// Done of its own.
func (s *Server) Done() <-chan struct{} { return s.current().done }

func (s *Server) current() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

// Stop shuts the server down: open transactions are rolled back, everything is written,
// and the call returns when the postmaster is gone. Where that takes longer than the
// context allows, the server is stopped at once, as by StopImmediate, and the context's
// error is returned. Stopping a stopped server does nothing.
func (s *Server) Stop(ctx context.Context) error {
	if err := s.current().stop(ctx, syscall.SIGINT); err != nil {
		return fmt.Errorf("stopping Postgres: %w", err)
	}
	return nil
}

// StopImmediate stops the server without writing anything, as a crash of it would; the
// next start recovers from the write-ahead log. It returns when the postmaster is gone.
func (s *Server) StopImmediate(ctx context.Context) error {
	if err := s.current().stop(ctx, syscall.SIGQUIT); err != nil {
		return fmt.Errorf("stopping Postgres at once: %w", err)
	}
	return nil
}

// Kill ends the postmaster with SIGKILL and waits for its end. The server's other
// processes notice within moments, on their own; Restart waits for them.
func (s *Server) Kill() error {
	if err := s.current().stop(context.Background(), syscall.SIGKILL); err != nil {
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

// ensureDatabase makes the database that URL names. Nobody else creates it meanwhile:
// only we know the password yet.
func (s *Server) ensureDatabase(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, superuserURL(s.password, strconv.Itoa(s.port), "postgres"))
	if err != nil {
		return fmt.Errorf("connecting to the new server: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	var exists bool
	err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`,
		s.options.Database).Scan(&exists)
	if err != nil {
		return fmt.Errorf("looking for database %s: %w", s.options.Database, err)
	}
	if exists {
		return nil
	}
	if _, err := conn.Exec(ctx,
		`CREATE DATABASE `+pgx.Identifier{s.options.Database}.Sanitize()); err != nil {
		return fmt.Errorf("creating database %s: %w", s.options.Database, err)
	}
	return nil
}
