package pgtest

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/pgserver"
)

const dirPrefix = "paymentsvc-pgtest-"

// newDir is a place for a server's directory, which the server makes. t.TempDir is
// none: it is closed to others, and Postgres, which refuses to run as root, is another
// user when the tests run as root.
func newDir(parent string) string {
	removeForgotten(parent, time.Now())
	return filepath.Join(parent, dirPrefix+rand.Text())
}

// removeForgotten removes the directories of test processes that were killed before
// they could; the servers ended with them. A directory with a server in it is left
// alone, and so is one of today: its server may be down for a moment, between a kill
// and a restart. What cannot be removed is another user's, or being removed by somebody
// else.
func removeForgotten(parent string, now time.Time) {
	dirs, _ := filepath.Glob(filepath.Join(parent, dirPrefix+"*"))
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err == nil && now.Sub(info.ModTime()) > 24*time.Hour {
			_ = pgserver.Remove(dir)
		}
	}
}
