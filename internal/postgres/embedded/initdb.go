package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// prepare makes sure that the directory has data which these binaries can serve, and learns its password.
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

// initialise makes the data under another name, and gives it its own when all of it is there: a start that was killed
// half-way leaves nothing that a later one could mistake for data.
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
	if err := s.choosePassword(); err != nil {
		return err
	}
	if err := s.initdb(ctx); err != nil {
		return err
	}
	if err := os.Rename(s.dir.unfinished(), s.dir.data()); err != nil {
		return fmt.Errorf("finishing the data directory: %w", err)
	}
	return s.dir.sync()
}

// choosePassword keeps a random password where a restart finds it.
func (s *Server) choosePassword() error {
	s.password = rand.Text()
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

// initdb makes the data. The locale is C whatever the machine's is, so that a test sorts alike everywhere; what must
// be sorted in one way says so in its SQL (COLLATE "C").
func (s *Server) initdb(ctx context.Context) error {
	args := []string{
		"-D", s.dir.unfinished(), "--username", superuser, "--pwfile", s.dir.passwordFile(),
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale",
	}
	if !s.options.Durable {
		args = append(args, "--no-sync")
	}
	log, err := s.dir.openLog()
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // initdb has its own, and it is the one who writes
	p, err := startProcess(s.child(log.File, s.binaries.initdb(), args...), func(*process) {})
	if err != nil {
		return fmt.Errorf("running %s: %w", s.binaries.initdb(), err)
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("running initdb: %w", ctx.Err()), p.stop(context.Background(), syscall.SIGINT))
	}
	if p.err != nil {
		return fmt.Errorf("running initdb: %w. It said:\n%s", p.err, log.tail())
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
