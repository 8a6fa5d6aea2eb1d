package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// prepare makes the data if there is none, and reads the password.
func (s *Server) prepare(ctx context.Context) error {
	release, err := s.dir.lock()
	if err != nil {
		return err
	}
	defer release() //nolint:errcheck // nothing was written
	version, err := s.dir.version()
	if err != nil {
		return err
	}
	if version == "" {
		return s.initialise(ctx)
	}
	s.password, err = s.dir.password()
	return err
}

func (d directory) password() (string, error) {
	password, err := os.ReadFile(d.passwordFile())
	if err != nil {
		return "", fmt.Errorf("reading the superuser's password: %w", err)
	}
	return strings.TrimSpace(string(password)), nil
}

// initialise makes the data under another name, and renames it when it is whole. A start
// that was killed half-way leaves nothing that a later one could mistake for data.
func (s *Server) initialise(ctx context.Context) error {
	if err := os.RemoveAll(s.dir.unfinished()); err != nil {
		return fmt.Errorf("removing an unfinished data directory: %w", err)
	}
	if err := os.Mkdir(s.dir.unfinished(), 0o700); err != nil {
		return fmt.Errorf("making the data directory: %w", err)
	}
	if err := s.account.own(s.dir.unfinished()); err != nil {
		return err
	}
	var err error
	if s.options.Follow != nil {
		err = s.basebackup(ctx, s.options.Follow)
	} else {
		err = s.initdb(ctx)
	}
	if err != nil {
		return err
	}
	if err := os.Rename(s.dir.unfinished(), s.dir.data()); err != nil {
		return fmt.Errorf("finishing the data directory: %w", err)
	}
	return s.dir.sync()
}

// keepPassword writes the password to a file, for a restart.
func (s *Server) keepPassword(password string) error {
	s.password = password
	if err := os.Remove(s.dir.passwordFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing an old password: %w", err)
	}
	file, err := os.OpenFile(s.dir.passwordFile(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("keeping the superuser's password: %w", err)
	}
	_, err = file.WriteString(s.password + "\n")
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("keeping the superuser's password: %w", err)
	}
	return s.account.own(s.dir.passwordFile()) // initdb reads it
}

// initdb makes the data. The locale is C whatever the machine's is, so that a test
// sorts alike everywhere. SQL that depends on an order says COLLATE "C".
func (s *Server) initdb(ctx context.Context) error {
	if err := s.keepPassword(rand.Text()); err != nil {
		return err
	}
	args := []string{
		"-D", s.dir.unfinished(), "--username", superuser, "--pwfile", s.dir.passwordFile(),
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale",
	}
	if !s.options.Durable {
		args = append(args, "--no-sync")
	}
	if err := s.run(s.child(ctx, s.binaries.initdb(), args...)); err != nil {
		return err
	}
	create := s.child(ctx, s.binaries.postgres(), "--single", "-D", s.dir.unfinished(), "postgres")
	create.Stdin = strings.NewReader("CREATE DATABASE " + database)
	return s.run(create)
}

// basebackup makes the data a copy of a running server's, and writes down how to follow
// that server from there on. Everybody can read a command line, so the password is in
// the environment.
func (s *Server) basebackup(ctx context.Context, from *Server) error {
	if err := s.keepPassword(from.password); err != nil {
		return err
	}
	backup := s.child(ctx, s.binaries.Program("pg_basebackup"),
		"--pgdata", s.dir.unfinished(), "--host", host, "--port", strconv.Itoa(from.port),
		"--username", superuser, "--checkpoint", "fast", "--write-recovery-conf")
	backup.Env = append(backup.Env, "PGPASSWORD="+from.password)
	return s.run(backup)
}

// run runs a program that makes the data.
func (s *Server) run(command *exec.Cmd) error {
	runtime.LockOSThread() // see process.Start
	defer runtime.UnlockOSThread()
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGINT) }
	command.WaitDelay = 5 * time.Second
	output, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("running %s: %w. It said:\n%s", command.Path, s.explain(err), output)
	}
	return nil
}

// sync makes a new name in the directory durable.
func (d directory) sync() error {
	file, err := os.Open(d.path)
	if err != nil {
		return fmt.Errorf("syncing the data directory: %w", err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("syncing the data directory: %w", err)
	}
	return nil
}
