package pgtest

import (
	"context"
	"errors"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/pgserver"
	"github.com/paymentsvc/paymentsvc/migrations"
)

// Cluster is a durable Postgres server of a test's own, to be killed and started again:
// see the methods of pgserver.Server. Its one database is migrated.
type Cluster struct {
	*pgserver.Server
	url string
}

// URL is the service's own URL: as the owner of the database, who is no superuser.
func (c *Cluster) URL() string { return c.url }

// AdminURL is as a superuser, on the same database.
func (c *Cluster) AdminURL() string { return c.Server.URL() }

// Durable starts a server that keeps its commits through every kill: its settings are
// Postgres's own, plus the parameters. It runs from this machine's Postgres programs, or
// downloaded ones, because a container's server is killed in another way. After the test
// it is started once more if it is down, audited, stopped and removed.
func Durable(t testing.TB, parameters map[string]string) *Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := start(ctx, t, pgserver.Options{Durable: true, Parameters: parameters})
	var err error
	if c.url, err = migrate(ctx, c.AdminURL()); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return c
}

// Standby starts a server that follows this one, until pg_promote() makes it a server
// like any other. It is ended as this one is. It needs pg_basebackup, so an installed
// PostgreSQL and not a downloaded one.
func (c *Cluster) Standby(t testing.TB) *Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	standby := start(ctx, t, pgserver.Options{Durable: true, Follow: c.Server})
	standby.url = strings.Replace(c.url, hostOf(t, c.AdminURL()), hostOf(t, standby.AdminURL()), 1)
	return standby
}

func hostOf(t testing.TB, databaseURL string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// start starts a server on a directory of its own, and ends it after the test.
func start(ctx context.Context, t testing.TB, o pgserver.Options) *Cluster {
	t.Helper()
	o.DataDir = newDir(os.TempDir()) // a disk, where durability has its price
	t.Cleanup(func() {
		if err := pgserver.Remove(o.DataDir); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	s, err := pgserver.Start(ctx, o)
	if err != nil {
		t.Fatalf("pgtest: a test that kills its server needs one of its own: %v", err)
	}
	c := &Cluster{Server: s}
	t.Cleanup(func() { c.end(t) })
	return c
}

// end audits the server's data, and stops the server.
func (c *Cluster) end(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	select {
	case <-c.Done():
		if err := c.Restart(ctx); err != nil {
			t.Errorf("pgtest: starting the server for the audit: %v", err)
			return
		}
	default:
	}
	if c.url != "" {
		check(t, c.url)
	}
	if err := c.Stop(ctx); err != nil {
		t.Errorf("pgtest: %v", err)
	}
}

// migrate makes an owner for the database and runs the migrations as that owner, as
// pgtestdb does for New. The result is the owner's URL.
func migrate(ctx context.Context, adminURL string) (string, error) {
	config, err := testConfig(adminURL)
	if err != nil {
		return "", err
	}
	role := config.TestRole
	config.User, config.Password = role.Username, role.Password
	return config.URL(), errors.Join(
		asAdmin(ctx, adminURL,
			`CREATE ROLE `+role.Username+` LOGIN PASSWORD '`+role.Password+`' `+role.Capabilities,
			`ALTER DATABASE `+config.Database+` OWNER TO `+role.Username),
		setMode(ctx, adminURL, role.Username),
		migrations.Up(ctx, config.URL()),
	)
}
