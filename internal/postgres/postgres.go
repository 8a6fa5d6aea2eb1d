// Package postgres connects to the database and runs money transactions on it.
//
// It knows three things that are easy to get wrong:
//   - what a connection must be like before money may run over it: it acts as the restricted role,
//     COMMIT waits for the disk, and every wait is bounded (this file);
//   - what an error means for its transaction: rejected, worth another run, unknown (errors.go);
//   - when a COMMIT may be believed (commit.go, and confirm.go for writes that do not move money).
package postgres

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Role is the role of every pooled connection. It may not alter or drop a
// table, nor change a ledger entry, and may empty only readiness_probe.
const Role = "paymentsvc_app"

// How long anything may take on a connection. The order matters. The server ends a
// rival that is stopped while it holds locks (idleInTransactionTimeout, or the
// keep-alives if its host is gone) before the transactions that wait for it give up
// (LockTimeout). In a batch that is the limit of claims; payments and accounts have a
// shorter one (payments/busy.go).
const (
	connectTimeout           = 2 * time.Second
	idleInTransactionTimeout = 2 * time.Second
	LockTimeout              = 4 * time.Second
	statementTimeout         = 5 * time.Second
	// Outside of money transactions a wait gives up earlier: it occupies a connection for
	// reads.
	sessionLockTimeout = time.Second
)

func seconds(d time.Duration) string { return fmt.Sprintf("%ds", int(d.Seconds())) }

// tryTimeout is for one run of a money transaction. The limits above are the server's,
// and a silent connection reports none of them. It is longer than any single statement
// may take, so that an answering server is heard out. It is shorter than the time of a
// whole transaction, so that there is time to find out the outcome on another
// connection.
const tryTimeout = statementTimeout + time.Second

// Querier is a pool, a connection or a transaction.
type Querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults
}

// InIndexOrder is a statement that goes before the query of a list, in the same
// transaction. It leaves the planner one way: along the primary key, which has the
// order of the list, and no further than LIMIT. Without statistics the planner expects
// few rows, and would read and sort all of them: seconds instead of milliseconds on a
// million.
const InIndexOrder = `
	SELECT set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true)`

// Pools are the connections of one instance.
type Pools struct {
	// General serves reads and everything that is not a money transaction. It prepares
	// no statements: those of a table that a migration alters would each fail once.
	General *pgxpool.Pool
	// Money belongs to the committers, a connection each, so that nothing else can use
	// them up.
	Money *pgxpool.Pool
	// Probe is for health checks, which need an answer when every other connection is
	// taken: one for a look at the database, and one for a COMMIT, which may hang.
	Probe *pgxpool.Pool
}

// Options of the pools.
type Options struct {
	URL         string // a connection string or URL, as libpq knows them
	GeneralSize int    // connections for reads
	MoneySize   int    // connections for money transactions
	// Tracer, if set, is told of every statement.
	Tracer pgx.QueryTracer
}

// Open prepares the pools. It does not connect yet.
func Open(ctx context.Context, o Options) (*Pools, error) {
	pools := &Pools{}
	for _, pool := range []struct {
		target **pgxpool.Pool
		size   int
		mode   pgx.QueryExecMode
		params map[string]string
	}{
		{&pools.General, o.GeneralSize, pgx.QueryExecModeCacheDescribe, nil},
		{&pools.Money, o.MoneySize, pgx.QueryExecModeCacheStatement, moneyParams},
		{&pools.Probe, 2, pgx.QueryExecModeCacheDescribe, nil},
	} {
		opened, err := openPool(ctx, o, pool.size, pool.mode, pool.params)
		if err != nil {
			pools.Close()
			return nil, err
		}
		*pool.target = opened
	}
	return pools, nil
}

// Close waits for the connections that are in use and closes all.
func (p *Pools) Close() {
	for _, pool := range []*pgxpool.Pool{p.Money, p.General, p.Probe} {
		if pool != nil {
			pool.Close()
		}
	}
}

// moneyParams hold for money transactions only.
var moneyParams = map[string]string{
	"lock_timeout": seconds(LockTimeout),
	// Whatever the role or the database says. Checked on each new connection.
	"synchronous_commit": "on",
	"application_name":   "paymentsvc-money",
	// These few statements look rows up by key (see package unnest). They are planned
	// once, for nothing else: a plan is kept while the tables grow.
	"plan_cache_mode":  "force_generic_plan",
	"enable_hashjoin":  "off",
	"enable_mergejoin": "off",
	"enable_material":  "off",
}

func openPool(
	ctx context.Context, o Options, size int, mode pgx.QueryExecMode, params map[string]string,
) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, fmt.Errorf("reading the database URL: %w", err)
	}
	config.MaxConns = int32(size) //nolint:gosec // a handful
	config.MaxConnLifetimeJitter = time.Minute
	config.HealthCheckPeriod = 5 * time.Second

	conn := config.ConnConfig
	conn.ConnectTimeout = connectTimeout
	conn.DialFunc = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 3,
	}}).DialContext
	conn.OnNotice = rememberWarning
	conn.Tracer = o.Tracer
	conn.DefaultQueryExecMode = mode
	if conn.ValidateConnect == nil { // unless the URL says otherwise: not a standby
		conn.ValidateConnect = requireWritable
	}
	own := sessionParams()
	maps.Copy(own, params)
	maps.Copy(conn.RuntimeParams, own)
	config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		if err := requireOwnSession(ctx, c, own); err != nil || own["plan_cache_mode"] == "" {
			return err
		}
		return planForValues(ctx, c)
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection pool: %w", err)
	}
	return pool, nil
}

// sessionParams bound every wait: on a lock, in a statement, on a client that has
// stopped in the middle of a transaction, and on a network that no longer answers. (The
// server ignores the TCP settings on a Unix socket.)
func sessionParams() map[string]string {
	return map[string]string{
		"role":                                Role,
		"application_name":                    "paymentsvc",
		"timezone":                            "UTC",
		"enable_seqscan":                      "off", // every statement has an index
		"jit":                                 "off", // compiling takes longer than any statement
		"statement_timeout":                   seconds(statementTimeout),
		"lock_timeout":                        seconds(sessionLockTimeout),
		"idle_in_transaction_session_timeout": seconds(idleInTransactionTimeout),
		"client_connection_check_interval":    "1s",
		"tcp_keepalives_idle":                 "2", // seconds
		"tcp_keepalives_interval":             "1", // seconds
		"tcp_keepalives_count":                "3",
		"tcp_user_timeout":                    "3000",
	}
}

// requireWritable refuses a connection to a server that takes no writes.
func requireWritable(ctx context.Context, c *pgconn.PgConn) error {
	result := c.ExecParams(ctx, `SHOW transaction_read_only`, nil, nil, nil, nil).Read()
	if result.Err != nil {
		return fmt.Errorf("asking whether the server takes writes: %w", result.Err)
	}
	if len(result.Rows) != 1 || string(result.Rows[0][0]) != "off" {
		return ErrReadOnly
	}
	return nil
}

// unchecked are settings that no promise rests on, or that the server ignores on some
// connections.
var unchecked = []string{
	"application_name", "timezone", "tcp_keepalives_idle", "tcp_keepalives_interval",
	"tcp_keepalives_count", "tcp_user_timeout",
}

// requireOwnSession refuses a connection through a pooler, and one whose session lacks
// a setting that was asked for. A pooler can lend one session to several clients, and
// can drop settings and say nothing. (It invents the process id that it greets with.)
func requireOwnSession(ctx context.Context, c *pgx.Conn, want map[string]string) error {
	asked := maps.Clone(want)
	maps.DeleteFunc(asked, func(name, _ string) bool { return slices.Contains(unchecked, name) })
	var process uint32
	var got map[string]string
	if err := c.QueryRow(ctx, `
		SELECT pg_backend_pid(), (
			SELECT jsonb_object_agg(name, current_setting(name)) FROM unnest($1::text[]) AS name)`,
		slices.Collect(maps.Keys(asked))).Scan(&process, &got); err != nil {
		return fmt.Errorf("looking at a new session: %w", err)
	}
	if process != c.PgConn().PID() {
		return ErrPooler
	}
	for name, value := range asked {
		if got[name] != value {
			return fmt.Errorf("%w: %s is %s, where %s was asked for", ErrSettingLost, name,
				got[name], value)
		}
	}
	return nil
}
