package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/audit"
	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/lab/pgserver"
	"github.com/paymentsvc/paymentsvc/migrations"
)

// site is everything that was started, and the directory in which it leaves its traces.
// One goroutine uses it.
type site struct {
	config   Config
	dir      string
	binaries pgserver.Binaries
	program  string // pgbench
	fsync    time.Duration
	answer   []byte         // a real one, for pgbench to store
	closers  []func() error // in the order in which things were started
}

func newSite(ctx context.Context, c Config) (_ *site, err error) {
	s := &site{config: c}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.binaries, s.program, err = findPgbench(ctx); err != nil {
		return nil, err
	}
	parent := c.Scratch
	if parent == "" {
		parent = os.TempDir()
	}
	s.dir = filepath.Join(parent, "paymentsvc-bench-"+rand.Text())
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making a scratch directory: %w", err)
	}
	s.onClose(func() error { return os.RemoveAll(s.dir) })
	// Postgres refuses to run as root: root's server is another user, who has to get
	// through here.
	if err := os.Chmod(s.dir, 0o711); err != nil { // what lies here is made unreadable to others
		return nil, fmt.Errorf("opening the scratch directory to Postgres: %w", err)
	}
	if s.fsync, err = fsyncTime(s.dir); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *site) onClose(f func() error) { s.closers = append(s.closers, f) }

// close stops and removes everything, the last first.
func (s *site) close() (err error) {
	for _, f := range slices.Backward(s.closers) {
		err = errors.Join(err, f())
	}
	s.closers = nil
	return err
}

// durability of a server.
type durability bool

const (
	durable    durability = true
	notDurable durability = false // fsync is off
)

// startServer starts a Postgres with its own default settings. (What a reader would
// tune, such as shared_buffers, helps every contender.)
func (s *site) startServer(
	ctx context.Context, name string, d durability,
) (*pgserver.Server, error) {
	server, err := pgserver.Start(ctx, pgserver.Options{
		DataDir:  filepath.Join(s.dir, name),
		Durable:  bool(d),
		Binaries: s.binaries,
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	s.onClose(func() error { // its data is thrown away
		ctx, cancel := context.WithTimeout(context.Background(), endPatience)
		defer cancel()
		return server.StopImmediate(ctx)
	})
	return server, nil
}

// books are a migrated database with two merchants who have the same accounts: one
// charges through the service, and one by pgbench.
type books struct {
	url                string
	apiKey             string
	served, pgbenching int64 // merchants' ids
}

func (s *site) newBooks(
	ctx context.Context, server *pgserver.Server, name string,
) (b books, err error) {
	if b.url, err = createDatabase(ctx, server, name); err != nil {
		return b, err
	}
	if err := migrations.Up(ctx, b.url); err != nil {
		return b, err
	}
	pool, err := pgxpool.New(ctx, b.url)
	if err != nil {
		return b, fmt.Errorf("connecting: %w", err)
	}
	defer pool.Close()
	if b.served, b.apiKey, err = merchants.Create(ctx, pool, "served"); err != nil {
		return b, err
	}
	if b.pgbenching, _, err = merchants.Create(ctx, pool, "pgbench"); err != nil {
		return b, err
	}
	_, err = pool.Exec(ctx, `
		INSERT INTO accounts (merchant_id, id, currency, overdraft_limit)
		SELECT m.id, n::text, 'USD', NULL
		FROM merchants m, generate_series($1::int, $2) AS n`, firstAccount, firstAccount+s.config.Accounts-1)
	if err != nil {
		return b, fmt.Errorf("making accounts: %w", err)
	}
	_, err = pool.Exec(ctx, `VACUUM ANALYZE`)
	return b, err
}

// createDatabase makes an empty database and returns its URL, as the superuser.
func createDatabase(
	ctx context.Context, server *pgserver.Server, name string,
) (_ string, err error) {
	conn, err := pgx.Connect(ctx, server.URL())
	if err != nil {
		return "", fmt.Errorf("connecting: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	if _, err := conn.Exec(ctx, `CREATE DATABASE `+pgx.Identifier{name}.Sanitize()); err != nil {
		return "", fmt.Errorf("creating database %s: %w", name, err)
	}
	u, err := url.Parse(server.URL())
	if err != nil {
		return "", fmt.Errorf("reading the database URL: %w", err)
	}
	u.Path = "/" + name
	return u.String(), nil
}

// startPaymentsvc starts the service with its own default settings.
func (s *site) startPaymentsvc(
	ctx context.Context, b books, settings ...string,
) (*service, error) {
	settings = append([]string{
		"DATABASE_URL=" + b.url, "LISTEN_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0",
		"SHUTDOWN_DELAY=0s",
	}, settings...)
	served, err := startService(ctx, paymentsvcName, s.dir,
		exec.Command(s.config.Program, "serve"), settings...)
	if err != nil {
		return nil, err
	}
	s.onClose(served.stop)
	served.program, served.apiKey = s.config.Program, b.apiKey
	if err := served.awaitReady(ctx); err != nil {
		return nil, fmt.Errorf("starting paymentsvc: %w%s", err, served.said())
	}
	return served, nil
}

// startOnefile starts examples/onefile on a database of its own, whose URL it returns
// too.
func (s *site) startOnefile(
	ctx context.Context, server *pgserver.Server,
) (plain *service, url string, err error) {
	if url, err = createDatabase(ctx, server, "onefile"); err != nil {
		return nil, "", err
	}
	plain, err = startService(ctx, "onefile", s.dir, exec.Command(s.config.Onefile),
		"DATABASE_URL="+url, "LISTEN_ADDR=127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	s.onClose(plain.stop)
	plain.program, plain.apiKey = s.config.Program, "none"
	if err := plain.putAccounts(ctx, s.config.Accounts); err != nil {
		return nil, "", err
	}
	return plain, url, execute(ctx, url, `VACUUM ANALYZE`)
}

func (s *site) newPgbench(b books) *pgbench {
	return &pgbench{program: s.program, scratch: s.dir, url: b.url, merchantID: b.pgbenching,
		answer: s.answer}
}

func (s *site) load(pattern Pattern, connections int) Load {
	return Load{
		Connections: connections,
		Accounts:    s.config.Accounts,
		Pattern:     pattern,
		WarmUp:      seconds(s.config.WarmUp.Seconds()),
		Duration:    seconds(s.config.Duration.Seconds()),
	}
}

// checkpoint writes out what earlier measurements have left in memory, so that the next
// begins where every other began.
func checkpoint(ctx context.Context, url string) error { return execute(ctx, url, `CHECKPOINT`) }

func execute(ctx context.Context, url, sql string) (err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}

// verify counts payments, and runs the audit.
func (b books) verify(ctx context.Context, contenders []*contender) (v Books, err error) {
	conn, err := pgx.Connect(ctx, b.url)
	if err != nil {
		return v, fmt.Errorf("connecting: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	const counting = `SELECT count(*) FROM payments WHERE merchant_id = $1`
	const before = 1 // the service's charge that gave pgbench an answer to store
	if err := v.count(ctx, conn, paymentsvcName, before+made(contenders, paymentsvcName), counting,
		b.served); err != nil {
		return v, err
	}
	if err := v.count(ctx, conn, pgbenchName, made(contenders, pgbenchName), counting,
		b.pgbenching); err != nil {
		return v, err
	}
	// it sorts all that was written
	if _, err := conn.Exec(ctx, `SET work_mem = '256MB'`); err != nil {
		return v, fmt.Errorf("preparing the audit: %w", err)
	}
	violations, err := audit.Run(ctx, conn, 10)
	for _, violation := range violations {
		err = errors.Join(err, fmt.Errorf("the books are not in order: %v", violation))
	}
	return v, err
}

// made is how many charges of a contender were answered, in all its measurements.
func made(contenders []*contender, name string) (charges int) {
	for _, c := range contenders {
		for _, m := range c.measured {
			if c.name == name {
				charges += m.Made
			}
		}
	}
	return charges
}

// count makes sure that there is a payment for every charge that was answered, and no
// other.
func (v *Books) count(
	ctx context.Context, conn *pgx.Conn, name string, made int, counting string, args ...any,
) error {
	var payments int
	if err := conn.QueryRow(ctx, counting, args...).Scan(&payments); err != nil {
		return fmt.Errorf("counting the payments of %s: %w", name, err)
	}
	if payments != made {
		return fmt.Errorf("%s answered %d charges, and there are %d payments", name, made,
			payments)
	}
	v.Charges += made
	v.Payments += payments
	return nil
}

// verifyOnefile counts the payments of examples/onefile.
func (v *Books) verifyOnefile(
	ctx context.Context, url string, contenders []*contender,
) (err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	return v.count(ctx, conn, onefileName, made(contenders, onefileName),
		`SELECT count(*) FROM onefile.payments`)
}
