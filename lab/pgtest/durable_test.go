package pgtest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestKilledServerIsAuditedAndRemoved(t *testing.T) {
	t.Parallel()
	var c *Cluster
	fake := inFake(t, func(tb testing.TB) {
		c = Durable(tb, nil)
		query(t, c.URL(), `INSERT INTO merchants (id, name) VALUES (1, 'm') RETURNING name`, "m")
		query(t, c.URL(), `
			INSERT INTO accounts (merchant_id, id, currency, balance)
			VALUES (1, 'broken', 'EUR', 5) RETURNING id`, "broken")
		if err := c.Kill(); err != nil {
			tb.Fatal(err)
		}
	})
	fake.wantComplaint(t, "i2_balances_match_entries", "account broken")
	select {
	case <-c.Done():
	default:
		t.Error("the server still runs")
	}
	if _, err := os.Stat(filepath.Dir(c.LogPath())); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the server's directory is still there: %v", err)
	}
}

// query expects one answer.
func query(t *testing.T, url, sql, want string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var got string
	if err := conn.QueryRow(t.Context(), sql).Scan(&got); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if got != want {
		t.Errorf("%s: %s, want %s", sql, got, want)
	}
}
