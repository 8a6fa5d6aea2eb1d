package pgtest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestKilledServerIsAuditedAndRemoved(t *testing.T) {
	t.Parallel()
	var c *Cluster
	fake := inFake(t, func(tb testing.TB) {
		c = Durable(tb, nil)
		breakBooks(t, c.URL())
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
