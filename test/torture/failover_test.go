package torture

import (
	"net/url"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// The primary dies under load and its synchronous standby takes over. The instances
// know both from their URL, the standby first, and find the one that takes writes. What
// was acknowledged before is there, because a COMMIT waited for the standby.
func TestNoAckedChargeIsLostOrDoubledWhenAStandbyTakesOver(t *testing.T) {
	t.Parallel()
	primary := pgtest.Durable(t, slowCommit)
	standby := primary.Standby(t)
	b := benchAt(t, 2, eitherOf(t, standby.URL(), primary.URL()), primary.AdminURL())
	b.exec(`ALTER SYSTEM SET synchronous_standby_names = '*'`)
	b.exec(`SELECT pg_reload_conf()`)
	await.Until(t, 10*time.Second, "COMMITs wait for the standby", func() bool {
		return b.number(`SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'`) == 1
	})
	b.judged(func(journal *journal.Journal) {
		b.awaitCommit()
		journal.Strike(t, "kill -9 of the primary", "", func() { b.must(primary.Kill()) })
		b.admin, b.adminURL = nil, standby.AdminURL()
		for i := range b.fleet.Instances() {
			b.instance(i).AwaitNotReady(notReadyTime) // a standby is no place for money
		}
		b.exec(`SELECT pg_promote()`)
		b.fleet.AwaitReady()
	})
	b.ranAgain()
}

// eitherOf is the URL of a database on two servers: of them, the one that takes writes.
func eitherOf(t *testing.T, first, second string) string {
	t.Helper()
	u, err := url.Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	other, err := url.Parse(second)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("host", u.Hostname()+","+other.Hostname())
	q.Set("port", u.Port()+","+other.Port())
	u.Host, u.RawQuery = "", q.Encode()
	return u.String()
}
