package postgres_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// A pooler may drop what a connection asks for at its start, and say nothing
// (PgBouncer's ignore_startup_parameters). No statement runs on a connection that did
// not get what money needs.
func TestConnectionThatLostItsStartupParametersIsRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name          string
		drop          func(name, value string) bool
		money, others string // the setting that is missed; "": the connection is taken
	}{
		{
			"synchronous_commit",
			func(name, _ string) bool { return name == "synchronous_commit" },
			"synchronous_commit", "",
		},
		{"role", func(name, _ string) bool { return name == "role" }, "role", "role"},
		{
			"everything",
			func(name, _ string) bool { return name != "user" && name != "database" },
			"role", "role",
		},
		{
			"everything but the role",
			func(name, _ string) bool {
				return name != "user" && name != "database" && name != "role"
			},
			"synchronous_commit", "",
		},
		{"nothing", func(string, string) bool { return false }, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			configure(t, db.Pool, "synchronous_commit", "off")
			pools := open(t, dropping(t, db.URL, test.drop))
			wantMissed(t, "money", pools.Money, test.money)
			wantMissed(t, "general", pools.General, test.others)
			wantMissed(t, "probe", pools.Probe, test.others)
		})
	}
}

// wantMissed checks that the pool gives out no connection without the setting, and says
// which.
func wantMissed(t *testing.T, name string, pool *pgxpool.Pool, setting string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := pool.Acquire(ctx)
	if err == nil {
		conn.Release()
	}
	switch {
	case setting == "" && err != nil:
		t.Errorf("the pool %s has no connection: %v", name, err)
	case setting != "" && (err == nil || !strings.Contains(err.Error(), setting+" is ")):
		t.Errorf("the pool %s gave out a connection without its %s: %v", name, setting, err)
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
