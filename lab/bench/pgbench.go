package bench

import (
	"bufio"
	"bytes"
	"context"
	_ "embed" // pgbench.sql
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/lab/pgserver"
)

// pgbenchScript is one charge. What every pgbench of this package runs is this, with
// some statements left out for prices.
//
//go:embed pgbench.sql
var pgbenchScript []byte

// ErrNoPgbench means that Postgres is here and its benchmark is not.
var ErrNoPgbench = errors.New("pgbench is missing: it comes with PostgreSQL's server package" +
	" (Debian: apt-get install postgresql; Red Hat: postgresql-contrib; Homebrew: brew install " +
	"postgresql)")

// findPgbench finds this machine's Postgres, and pgbench beside it.
func findPgbench(ctx context.Context) (pgserver.Binaries, string, error) {
	binaries, err := pgserver.FindBinaries(ctx)
	if err != nil {
		return binaries, "",
			fmt.Errorf("%w. Install PostgreSQL (Debian: apt-get install postgresql)", err)
	}
	program := binaries.Program("pgbench")
	if _, err := os.Stat(program); err != nil {
		return binaries, "", fmt.Errorf("%w: %w", ErrNoPgbench, err)
	}
	return binaries, program, nil
}

// pgbench charges by transactions of its own, on the books of one merchant.
type pgbench struct {
	program    string
	scratch    string // a directory for its script and logs
	url        string
	merchantID int64
	answer     []byte            // a real one, to be stored with every charge
	settings   map[string]string // of its sessions, beside sessionSettings
	without    string            // "keys" or "events": left out

	runs int // so far, so that no id is used twice
}

// sessionSettings are those of paymentsvc's own money connections which decide what a
// statement costs.
func sessionSettings() map[string]string {
	return map[string]string{
		"role":             postgres.Role,
		"plan_cache_mode":  "force_generic_plan",
		"enable_seqscan":   "off",
		"enable_hashjoin":  "off",
		"enable_mergejoin": "off",
	}
}

const (
	pgbenchRunMin   = 100              // pgbench.sql writes a run with three digits
	pgbenchPatience = 30 * time.Second // to connect, and for its last transactions
)

// measure runs pgbench once. The warm-up begins when everybody is connected.
func (p *pgbench) measure(
	ctx context.Context, m *meter, load Load,
) (measured Measurement, err error) {
	prefix := filepath.Join(p.scratch, "pgbench-"+strconv.Itoa(p.runs))
	defer func() { err = errors.Join(err, removeAll(prefix+"*")) }()
	run, output, err := p.start(prefix, load)
	if err != nil {
		return measured, err
	}
	defer run.kill()
	window, err := p.observe(ctx, m, run, load)
	if err != nil {
		run.kill()
		return measured, fmt.Errorf("running pgbench: %w%s", err, said(output.Bytes()))
	}
	logs, err := filepath.Glob(prefix + ".log.*")
	if err != nil {
		return measured, err
	}
	transactions, err := readPgbenchLogs(logs)
	if err != nil {
		return measured, err
	}
	return window.measurement(judgeTransactions(transactions, window.begin, window.end)), nil
}

// observe waits for the window to pass, and ends pgbench then.
func (p *pgbench) observe(
	ctx context.Context, m *meter, run *child, load Load,
) (w window, err error) {
	m.client = run.pid()
	if err := p.awaitConnections(ctx, run, load.Connections); err != nil {
		return w, err
	}
	if w, err = m.over(ctx, load.WarmUp.duration(), load.Duration.duration()); err != nil {
		return w, err
	}
	select {
	case <-run.ended:
		return w, fmt.Errorf("it ended early: %w", run.err)
	default:
	}
	// As its own timer does, at the end of --time: the transactions that run are the
	// last.
	if err := run.command.Process.Signal(syscall.SIGALRM); err != nil {
		return w, err
	}
	ctx, cancel := context.WithTimeout(ctx, pgbenchPatience)
	defer cancel()
	return w, run.wait(ctx)
}

// awaitConnections waits until pgbench has all of its connections, which is when it
// begins.
func (p *pgbench) awaitConnections(ctx context.Context, run *child, n int) (err error) {
	ctx, cancel := context.WithTimeout(ctx, pgbenchPatience)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.url)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for connected := 0; connected < n; {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for its connections: %w", ctx.Err())
		case <-run.ended:
			return fmt.Errorf("it ended early: %w", run.err)
		case <-tick.C:
		}
		err := conn.QueryRow(ctx, `
			SELECT count(*)
			FROM pg_stat_activity
			WHERE application_name = 'pgbench' AND state IS NOT NULL`).Scan(&connected)
		if err != nil {
			return fmt.Errorf("counting its connections: %w", err)
		}
	}
	return nil
}

// start runs pgbench, which measure ends.
func (p *pgbench) start(prefix string, load Load) (*child, *bytes.Buffer, error) {
	script := prefix + ".sql"
	if err := os.WriteFile(script, pgbenchScript, 0o600); err != nil {
		return nil, nil, fmt.Errorf("writing pgbench's script: %w", err)
	}
	connection, err := p.environment()
	if err != nil {
		return nil, nil, err
	}
	args := []string{
		"--no-vacuum", "--protocol=prepared", "--jobs=2", "--client=" +
			strconv.Itoa(load.Connections),
		"--time=86400", "--log", "--log-prefix=" + prefix + ".log", "--file=" + script,
	}
	variables := p.variables(load)
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		args = append(args, "--define="+name+"="+variables[name])
	}
	p.runs++
	var output bytes.Buffer
	command := exec.Command(p.program, args...)
	command.Stdout, command.Stderr = &output, &output
	run, err := startChild(command, connection...)
	return run, &output, err
}

func (p *pgbench) variables(load Load) map[string]string {
	flag := map[bool]string{true: "1", false: "0"}
	return map[string]string{
		"merchant":      strconv.FormatInt(p.merchantID, 10),
		"run":           strconv.Itoa(pgbenchRunMin + p.runs),
		"counter":       "0",
		"first_account": accountID(0),
		"last_account":  accountID(load.Accounts - 1),
		"hot":           flag[load.Pattern == Hot],
		"body":          string(p.answer),
		"fingerprint":   strings.Repeat("f", 32), // 32 bytes, as SHA-256 has
		"keys":          flag[p.without != "keys"],
		"events":        flag[p.without != "events"],
	}
}

// environment says how to connect: not as arguments, which everybody on the machine can
// read.
func (p *pgbench) environment() ([]string, error) {
	config, err := pgx.ParseConfig(p.url)
	if err != nil {
		return nil, fmt.Errorf("reading the database URL: %w", err)
	}
	settings := sessionSettings()
	maps.Copy(settings, p.settings)
	var options []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		options = append(options, "-c "+name+"="+settings[name])
	}
	return []string{
		"PGHOST=" + config.Host,
		"PGPORT=" + strconv.Itoa(int(config.Port)),
		"PGUSER=" + config.User,
		"PGPASSWORD=" + config.Password,
		"PGDATABASE=" + config.Database,
		"PGSSLMODE=disable",
		"PGOPTIONS=" + strings.Join(options, " "),
	}, nil
}

// transaction is a line of pgbench's log.
type transaction struct {
	at   time.Time // of its end
	took time.Duration
}

// readPgbenchLogs reads what pgbench has logged: a file for each of its threads, a line
// for each transaction.
func readPgbenchLogs(paths []string) (all []transaction, err error) {
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("reading pgbench's log: %w", err)
		}
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			t, err := parseTransaction(lines.Text())
			if err != nil {
				_ = file.Close()
				return nil, err
			}
			all = append(all, t)
		}
		if err := errors.Join(lines.Err(), file.Close()); err != nil {
			return nil, fmt.Errorf("reading pgbench's log: %w", err)
		}
	}
	return all, nil
}

// parseTransaction reads "client_id transaction_no time script_no time_epoch time_us":
// its fields three, five and six. A transaction that failed has a word where its time
// should be.
func parseTransaction(line string) (t transaction, err error) {
	fields := strings.Fields(line)
	if len(fields) < 6 {
		return t, fmt.Errorf("reading pgbench's log: %q", line)
	}
	var numbers [3]int64
	for i, field := range []string{fields[2], fields[4], fields[5]} {
		if numbers[i], err = strconv.ParseInt(field, 10, 64); err != nil {
			return t, fmt.Errorf("a transaction of pgbench failed: %q", line)
		}
	}
	t.took = time.Duration(numbers[0]) * time.Microsecond
	t.at = time.Unix(numbers[1], numbers[2]*1000)
	return t, nil
}

// judgeTransactions counts those that ended within the window.
func judgeTransactions(all []transaction, begin, end time.Time) outcome {
	var latencies []time.Duration
	for _, t := range all {
		if !t.at.Before(begin) && t.at.Before(end) {
			latencies = append(latencies, t.took)
		}
	}
	return newOutcome(len(all), latencies, end.Sub(begin))
}

// removeAll removes the files that match.
func removeAll(pattern string) error {
	paths, err := filepath.Glob(pattern)
	for _, path := range paths {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// said quotes the end of what a program has printed, for an error.
func said(output []byte) string {
	const most = 2 << 10
	if text := strings.TrimSpace(string(output[max(0, len(output)-most):])); text != "" {
		return ". It said:\n" + text
	}
	return ""
}
