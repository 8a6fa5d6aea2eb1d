package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// prepare makes sure that the directory has data which these binaries can serve, and
// learns its password.
func (s *Server) prepare(ctx context.Context) error {
	lock, err := s.dir.lock()
	if err != nil {
		return err
	}
	defer lock.release() //nolint:errcheck // nothing was written
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

// initialise makes the data under another name, and gives it its own when all of it is
// there: a start that was killed half-way leaves nothing that a later one could mistake
// for data.
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
	if err := s.fill(ctx); err != nil {
		return err
	}
	if err := os.Rename(s.dir.unfinished(), s.dir.data()); err != nil {
		return fmt.Errorf("finishing the data directory: %w", err)
	}
	return s.dir.sync()
}

// fill makes the data anew, or copies it from the server that is to be followed.
func (s *Server) fill(ctx context.Context) error {
	if s.options.Follow != nil {
		if err := s.keepPassword(s.options.Follow.password); err != nil {
			return err
		}
		return s.basebackup(ctx, s.options.Follow)
	}
	if err := s.keepPassword(rand.Text()); err != nil {
		return err
	}
	return s.initdb(ctx)
}

// keepPassword keeps the password where a restart finds it.
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
// sorts alike everywhere; what must be sorted in one way says so in its SQL (COLLATE
// "C").
func (s *Server) initdb(ctx context.Context) error {
	args := []string{
		"-D", s.dir.unfinished(), "--username", superuser, "--pwfile", s.dir.passwordFile(),
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale",
	}
	if !s.options.Durable {
		args = append(args, "--no-sync")
	}
	return s.run(ctx, nil, s.binaries.initdb(), args...)
}

// basebackup makes the data a copy of a running server's, and writes down how to follow
// that server from there on. Everybody can read a command line, so the password goes
// another way.
func (s *Server) basebackup(ctx context.Context, from *Server) error {
	return s.run(ctx, []string{"PGPASSWORD=" + from.password}, s.binaries.Program("pg_basebackup"),
		"--pgdata", s.dir.unfinished(), "--host", host, "--port", strconv.Itoa(from.port),
		"--username", superuser,
		"--checkpoint", "fast", "--write-recovery-conf")
}

// run runs a program that makes the data, as the server's user.
func (s *Server) run(
	ctx context.Context, environment []string, program string, args ...string,
) error {
	log, err := s.dir.openLog()
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the program has its own, and it is the one who writes
	command := s.child(log.File, program, args...)
	command.Env = append(command.Env, environment...)
	p, err := startProcess(command, func(*process) {})
	if err != nil {
		return fmt.Errorf("running %s: %w", program, err)
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("running %s: %w", program, ctx.Err()),
			p.stop(context.Background(), syscall.SIGINT))
	}
	if p.err != nil {
		return fmt.Errorf("running %s: %w. It said:\n%s", program, p.err, log.tail())
	}
	return nil
}

// sync makes a new name in the directory as durable as what it names.
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
