package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/pgserver"
)

// site owns all processes of a run, and the directory of their data. One goroutine uses
// it.
type site struct {
	config   Config
	program  string // paymentsvc itself, which serves
	dir      string
	binaries pgserver.Binaries
	answer   []byte         // an answer of the service, for pgbench to store
	closers  []func() error // in the order of the starts
}

func newSite(ctx context.Context, c Config) (*site, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program, to start it again: %w", err)
	}
	binaries, err := findBinaries(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(c.Scratch, "paymentsvc-bench-")
	if err != nil {
		return nil, fmt.Errorf("making a directory: %w", err)
	}
	s := &site{config: c, program: program, dir: dir, binaries: binaries}
	s.onClose(func() error { return os.RemoveAll(dir) })
	// Postgres refuses to run as root. Then its server is another user, who has to pass
	// through this directory. The files in it are closed to others.
	if err := os.Chmod(dir, 0o711); err != nil {
		err = fmt.Errorf("opening the directory to Postgres: %w", err)
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *site) onClose(f func() error) { s.closers = append(s.closers, f) }

// close ends and removes everything, the last first.
func (s *site) close() (err error) {
	for _, f := range slices.Backward(s.closers) {
		err = errors.Join(err, f())
	}
	return err
}

// startServer starts a Postgres with its default settings, in a directory of the site.
// (A tuned setting, such as shared_buffers, helps every contender.)
func (s *site) startServer(ctx context.Context, o pgserver.Options) (*pgserver.Server, error) {
	o.DataDir = filepath.Join(s.dir, o.DataDir)
	o.Binaries, o.Logger = s.binaries, slog.New(slog.DiscardHandler)
	server, err := pgserver.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	s.onClose(func() error { // its data is not needed any more
		ctx, cancel := context.WithTimeout(context.Background(), endPatience)
		defer cancel()
		return server.StopImmediate(ctx)
	})
	return server, nil
}

// connected calls f with a connection.
func connected(ctx context.Context, url string, f func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return f(conn)
}

func execute(ctx context.Context, url, sql string, args ...any) error {
	return connected(ctx, url, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, sql, args...); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
		return nil
	})
}
