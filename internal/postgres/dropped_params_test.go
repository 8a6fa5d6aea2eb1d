package postgres_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// A pooler may drop what a connection asks for at its start, and say nothing
// (PgBouncer's ignore_startup_parameters). No statement runs on a session that lacks a
// setting.
func TestConnectionThatLostASettingIsRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	configure(t, db.Pool, "synchronous_commit", "off")
	for _, setting := range []string{
		"role", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout",
		"client_connection_check_interval", "enable_seqscan", "jit",
		// of money connections only
		"synchronous_commit", "plan_cache_mode", "enable_hashjoin", "enable_mergejoin",
		"enable_material",
	} {
		pools := open(t, dropping(t, db.URL, func(name, _ string) bool { return name == setting }))
		conn, err := pools.Money.Acquire(t.Context())
		if err == nil {
			conn.Release()
		}
		if !errors.Is(err, postgres.ErrSettingLost) ||
			!strings.Contains(err.Error(), setting+" is ") {
			t.Errorf("without %s a money connection came to %v", setting, err)
		}
	}
	pools := open(t, dropping(t, db.URL, func(name, _ string) bool { return name == "role" }))
	if err := pools.General.Ping(t.Context()); !errors.Is(err, postgres.ErrSettingLost) {
		t.Errorf("without its role a connection for reads came to %v", err)
	}
	pools = open(t, dropping(t, db.URL, func(string, string) bool { return false }))
	if err := pools.Money.Ping(t.Context()); err != nil {
		t.Errorf("with all its settings a connection came to %v", err)
	}
}

// dropping is the URL of a pooler that drops some parameters and passes on everything
// else.
func dropping(t *testing.T, upstream string, drop func(name, value string) bool) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	config, err := pgconn.ParseConfig(upstream)
	if err != nil {
		t.Fatal(err)
	}
	network, address := pgconn.NetworkAddress(config.Host, config.Port)
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // the test is over
			}
			go func() {
				defer client.Close()
				_ = passOn(client, network, address, drop) // the client sees a broken connection
			}()
		}
	}()
	return through(t, upstream, listener.Addr().String())
}

// through is the URL with another address, where no TLS is spoken.
func through(t *testing.T, upstream, address string) string {
	t.Helper()
	u, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("sslmode", "disable")
	u.Host, u.RawQuery = address, query.Encode()
	return u.String()
}

// passOn serves one connection.
func passOn(client net.Conn, network, address string, drop func(name, value string) bool) error {
	first, err := pgproto3.NewBackend(client, client).ReceiveStartupMessage()
	if err != nil {
		return fmt.Errorf("reading the startup message: %w", err)
	}
	server, err := net.Dial(network, address)
	if err != nil {
		return fmt.Errorf("dialling the server: %w", err)
	}
	defer server.Close()
	if startup, ok := first.(*pgproto3.StartupMessage); ok {
		maps.DeleteFunc(startup.Parameters, drop)
	}
	packet, err := first.Encode(nil)
	if err != nil {
		return fmt.Errorf("writing the startup message: %w", err)
	}
	if _, err := server.Write(packet); err != nil {
		return fmt.Errorf("starting the session: %w", err)
	}
	go func() {
		defer server.Close()
		_, _ = io.Copy(server, client) // ends with the client
	}()
	_, err = io.Copy(client, server)
	return err
}
