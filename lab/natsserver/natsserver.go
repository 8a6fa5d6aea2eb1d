// Package natsserver runs a NATS server with JetStream, from the program nats-server,
// for dev and for tests. It listens on the loopback interface only, keeps its messages
// in a directory, and ends with the process that started it (see package process).
package natsserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/process"
)

const (
	host          = "127.0.0.1"
	startPatience = 20 * time.Second
	lookInterval  = 10 * time.Millisecond
	logName       = "nats-server.log"
)

// ErrNoProgram means that this machine has no nats-server.
var ErrNoProgram = errors.New("there is no program nats-server (Debian: apt-get install " +
	"nats-server; macOS: brew install nats-server)")

// Options of a server.
type Options struct {
	Dir           string // for the messages and the log
	PreferredPort int    // taken if it is free; else any free one
	ConfigFile    string // with more settings; "": none
	Logger        *slog.Logger
}

// Server is a running server.
type Server struct {
	options Options
	port    int
	process *process.Process
}

// Start starts a server and returns when it answers. The messages of an earlier one in
// the same directory are still there.
func Start(ctx context.Context, o Options) (*Server, error) {
	s := &Server{options: o, port: o.PreferredPort}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of nats-server: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		if s.port == 0 {
			s.port = int(process.FreePort())
		}
		err := s.launch(ctx)
		if err == nil {
			return s, nil
		}
		if !errors.Is(err, errPortTaken) || ctx.Err() != nil {
			return nil, err
		}
		s.port = 0
	}
}

// URL is the server's address for clients.
func (s *Server) URL() string { return "nats://" + s.address() }

func (s *Server) address() string { return net.JoinHostPort(host, strconv.Itoa(s.port)) }

// PID is the server's process id.
func (s *Server) PID() int { return s.process.PID() }

// Restart starts the server again at the same address, after Kill or Stop.
func (s *Server) Restart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	return s.launch(ctx)
}

// Stop ends the server.
func (s *Server) Stop(ctx context.Context) error { return s.process.Stop(ctx, syscall.SIGTERM) }

// Kill ends the server with SIGKILL.
func (s *Server) Kill(ctx context.Context) error { return s.process.Stop(ctx, syscall.SIGKILL) }

// Find returns where the program is, or ErrNoProgram. Debian has it in a directory that
// is not on everybody's path.
func Find() (string, error) {
	for _, name := range []string{"nats-server", "/usr/sbin/nats-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNoProgram
}

var errPortTaken = errors.New("another program has the port of nats-server")

// launch runs the program once.
func (s *Server) launch(ctx context.Context) error {
	program, err := Find()
	if err != nil {
		return err
	}
	logFile := filepath.Join(s.options.Dir, logName)
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log of nats-server: %w", err)
	}
	defer log.Close() //nolint:errcheck // only the server writes, through a copy of its own
	args := []string{
		"--addr", host, "--port", strconv.Itoa(s.port),
		"--jetstream", "--store_dir", filepath.Join(s.options.Dir, "store"),
	}
	if s.options.ConfigFile != "" {
		args = append(args, "--config", s.options.ConfigFile)
	}
	command := exec.CommandContext(context.WithoutCancel(ctx), program, args...)
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = process.Attributes(nil, syscall.SIGTERM)
	p, err := process.Start(command, func(p *process.Process) {
		if !p.Asked() {
			s.options.Logger.Warn("nats-server ended by itself", "how", p.Err(), "log", logFile)
		}
	})
	if err != nil {
		return fmt.Errorf("running %s: %w", program, err)
	}
	if err := awaitReady(ctx, p, logFile); err != nil {
		return errors.Join(err, p.Stop(context.WithoutCancel(ctx), syscall.SIGKILL))
	}
	s.process = p
	s.options.Logger.Info("nats-server runs", "pid", p.PID(), "port", s.port, "directory",
		s.options.Dir)
	return nil
}

// awaitReady waits until the server's log says that it is ready. A connection attempt
// could reach another program at the same port.
func awaitReady(ctx context.Context, p *process.Process, logFile string) error {
	for ended := false; ; {
		said, err := os.ReadFile(logFile)
		switch {
		case err != nil:
			return fmt.Errorf("reading the log of nats-server: %w", err)
		case strings.Contains(string(said), "Server is ready"):
			return nil
		case strings.Contains(string(said), "address already in use"):
			return errPortTaken
		case ended:
			return fmt.Errorf("nats-server ended at its start: %w. It said:\n%s", p.Err(), said)
		}
		select {
		case <-p.Done():
			ended = true // its last words may have been written since
		case <-ctx.Done():
			return fmt.Errorf("waiting for nats-server: %w", ctx.Err())
		case <-time.After(lookInterval):
		}
	}
}
