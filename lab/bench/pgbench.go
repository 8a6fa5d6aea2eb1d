package bench

import (
	"bytes"
	"context"
	_ "embed" // pgbench.sql
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/lab/pgserver"
)

// pgbenchScript is one charge. The prices leave out some of its statements.
//
//go:embed pgbench.sql
var pgbenchScript []byte

// findBinaries finds the Postgres of this machine, with pgbench.
func findBinaries(ctx context.Context) (pgserver.Binaries, error) {
	binaries, err := pgserver.FindBinaries(ctx)
	if err == nil {
		_, err = os.Stat(binaries.Program("pgbench"))
	}
	if err != nil {
		return binaries, fmt.Errorf("%w: pgbench comes with PostgreSQL's server package "+
			"(Debian: apt-get install postgresql; Red Hat: postgresql-contrib; Homebrew: "+
			"brew install postgresql)", err)
	}
	return binaries, nil
}

// pgbench charges by transactions of its own, on the books of its own merchants.
type pgbench struct {
	program       string
	scratch       string // the directory of its logs
	url           string
	firstMerchant int64  // the ids of the others follow
	answer        []byte // stored with every charge
	options       string // of its sessions, beside sessionOptions
	without       string // "keys" or "events": left out
	runs          int    // so far, so that no id is used twice
}

func (s *site) newPgbench(b books) *pgbench {
	return &pgbench{
		program: s.binaries.Program("pgbench"), scratch: s.dir, url: b.url,
		firstMerchant: b.pgbenching, answer: s.answer,
	}
}

func (p *pgbench) pid() int { return 0 }

// charge runs pgbench once.
func (p *pgbench) charge(
	ctx context.Context, l load, observe observer,
) (charges []charge, err error) {
	dir, err := os.MkdirTemp(p.scratch, "pgbench-")
	if err != nil {
		return nil, fmt.Errorf("making a directory for the logs of pgbench: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	command := exec.Command(p.program, p.arguments(dir, l)...)
	p.runs++
	var output bytes.Buffer
	command.Stdin = bytes.NewReader(p.script(l))
	command.Stdout, command.Stderr = &output, &output
	// The URL has a password. It is not an argument, which every user could read.
	process, alive, err := startChild(ctx, command,
		"PGDATABASE="+p.url, "PGOPTIONS="+sessionOptions+p.options)
	if err != nil {
		return nil, err
	}
	if err = p.awaitConnections(alive, l.connections); err == nil {
		err = observe(alive, process.pid())
	}
	// This is the signal of pgbench's own timer at the end of --time: the transactions
	// that run are the last.
	process.end(syscall.SIGALRM)
	if err == nil && !command.ProcessState.Success() {
		err = errors.New(command.ProcessState.String())
	}
	if err != nil {
		return nil, fmt.Errorf("running pgbench: %w%s", err, said(output.Bytes()))
	}
	return readCharges(filepath.Join(dir, "log.*"))
}

// awaitConnections waits until pgbench has all its connections, and so begins.
func (p *pgbench) awaitConnections(ctx context.Context, n int) error {
	return connected(ctx, p.url, func(conn *pgx.Conn) error {
		return poll(ctx, "its connections", func() (bool, error) {
			var count int
			err := conn.QueryRow(ctx, `
				SELECT count(*)
				FROM pg_stat_activity
				WHERE datname = current_database() AND application_name = 'pgbench'
					AND state IS NOT NULL`).Scan(&count)
			return count >= n, err
		})
	})
}

// script is pgbench.sql, after a line that chooses the merchant if there are several.
func (p *pgbench) script(l load) []byte {
	if l.merchants == 1 {
		return pgbenchScript
	}
	choice := fmt.Sprintf("\\set merchant random(%d, %d)\n",
		p.firstMerchant, p.firstMerchant+int64(l.merchants)-1)
	return append([]byte(choice), pgbenchScript...)
}

const pgbenchRunMin = 100 // pgbench.sql writes the number of a run with three digits

func (p *pgbench) arguments(dir string, l load) []string {
	flag := map[bool]string{true: "1", false: "0"}
	return []string{
		"--no-vacuum", "--protocol=prepared", "--jobs=2",
		"--client=" + strconv.Itoa(l.connections), "--time=86400",
		"--log", "--log-prefix=" + filepath.Join(dir, "log"), "--file=-",
		"--define=merchant=" + strconv.FormatInt(p.firstMerchant, 10),
		"--define=run=" + strconv.Itoa(pgbenchRunMin+p.runs),
		"--define=counter=0",
		"--define=first_account=" + accountID(0),
		"--define=last_account=" + accountID(l.accounts-1),
		"--define=hot=" + flag[l.pattern == Hot],
		"--define=body=" + string(p.answer),
		"--define=fingerprint=" + strings.Repeat("f", 32), // as long as a SHA-256
		"--define=keys=" + flag[p.without != "keys"],
		"--define=events=" + flag[p.without != "events"],
	}
}

// sessionOptions are the settings of the service's connections for charges, as far as
// they decide the cost of a statement.
const sessionOptions = "-c role=" + postgres.Role + " -c plan_cache_mode=force_generic_plan " +
	"-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off "

// readCharges reads the logs of pgbench: a file of each thread, with a line for each
// transaction.
func readCharges(pattern string) (all []charge, err error) {
	logs, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err != nil {
			return nil, fmt.Errorf("reading the log of pgbench: %w", err)
		}
		for line := range strings.Lines(string(text)) {
			c, err := parseCharge(line)
			if err != nil {
				return nil, err
			}
			all = append(all, c)
		}
	}
	return all, nil
}

// parseCharge reads the fields client_id, transaction_no, time, script_no, time_epoch
// and time_us. The line of a failed transaction has a word as its time.
func parseCharge(line string) (charge, error) {
	var client, number, took, script, seconds, micros int64
	_, err := fmt.Sscan(line, &client, &number, &took, &script, &seconds, &micros)
	if err != nil {
		return charge{}, fmt.Errorf("a transaction of pgbench failed: %q", line)
	}
	return charge{
		at:   time.Unix(seconds, micros*1000),
		took: time.Duration(took) * time.Microsecond,
	}, nil
}
