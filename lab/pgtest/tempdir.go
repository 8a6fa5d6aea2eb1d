package pgtest

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/pgserver"
)

const dirPrefix = "paymentsvc-pgtest-"

// newDir is a place for a server's directory, which the server makes. The user that runs
// root's servers may not enter t.TempDir.
func newDir(parent string) string {
	removeForgotten(parent, time.Now())
	return filepath.Join(parent, dirPrefix+rand.Text())
}

// removeForgotten removes the directories of test processes that were killed. Their
// servers ended with them. It leaves a directory with a server, and one of today: its
// server may be down for a moment, between a kill and a restart. An error means that the
// directory belongs to another user, or that another process removes it.
func removeForgotten(parent string, now time.Time) {
	dirs, _ := filepath.Glob(filepath.Join(parent, dirPrefix+"*"))
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err == nil && now.Sub(info.ModTime()) > 24*time.Hour {
			_ = pgserver.Remove(dir)
		}
	}
}
