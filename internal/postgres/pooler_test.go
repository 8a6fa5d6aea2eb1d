package postgres_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// A session of a pooler is not ours: its settings may be lost, and with them every bound
// on waiting. One sentence says so, at the start.
func TestPoolerIsRefusedInOneSentence(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	ignored := "ignore_startup_parameters = role, timezone, synchronous_commit, " +
		"statement_timeout," +
		" lock_timeout, idle_in_transaction_session_timeout, client_connection_check_interval," +
		" tcp_keepalives_idle, tcp_keepalives_interval, tcp_keepalives_count, tcp_user_timeout," +
		" plan_cache_mode, enable_seqscan, jit, enable_hashjoin, enable_mergejoin," +
		" enable_material\n"
	for name, config := range map[string]string{
		"as it is installed":               "pool_mode = session\n",
		"in session mode, made to fit":     "pool_mode = session\n" + ignored,
		"in transaction mode, made to fit": "pool_mode = transaction\n" + ignored,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pools := open(t, through(t, db.URL, startPgBouncer(t, db.URL, config)))
			err := pools.CheckWritable(t.Context())
			if !errors.Is(err, postgres.ErrPooler) || postgres.Unavailable(err) {
				t.Errorf("the service was told %v", err)
			}
			if err := pools.Money.Ping(t.Context()); err == nil {
				t.Error("a money connection was given out")
			}
		})
	}
}

// startPgBouncer returns the address of a PgBouncer in front of the database.
func startPgBouncer(t *testing.T, upstream, config string) (address string) {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Fatal("install PgBouncer (the package pgbouncer): ", err)
	}
	server, err := pgx.ParseConfig(upstream)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = listener.Addr().String()
	if err := listener.Close(); err != nil { // for PgBouncer
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(address, ":")
	file := filepath.Join(t.TempDir(), "pgbouncer.ini")
	settings := fmt.Sprintf(`
[databases]
* = host=%s port=%d user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_type = any
`, server.Host, server.Port, server.User, server.Password, port)
	if err := os.WriteFile(file, []byte(settings+config), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{file}
	if os.Geteuid() == 0 { // it refuses to run as root, and reads the file before it changes
		args = []string{"--user=nobody", file}
	}
	pooler := exec.CommandContext(t.Context(), program, args...)
	pooler.Stderr = t.Output()
	if err := pooler.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pooler.Wait() }) // it ends with the test's context
	await.Until(t, 10*time.Second, "PgBouncer listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return address
}
