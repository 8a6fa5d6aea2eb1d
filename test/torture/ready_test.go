package torture

import (
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
)

// An instance whose COMMITs hang, because the synchronous standby is gone, is not ready,
// though it can read and write. It is ready again by itself.
func TestInstanceIsNotReadyWhileItsCommitsHang(t *testing.T) {
	t.Parallel()
	b, _ := newDurableBench(t, 1, nil)
	b.exec(`ALTER SYSTEM SET synchronous_standby_names = 'gone'`)
	b.exec(`SELECT pg_reload_conf()`)
	b.instance(0).AwaitNotReady(10 * time.Second) // it commits every 5 s
	b.exec(`ALTER SYSTEM RESET synchronous_standby_names`)
	b.exec(`SELECT pg_reload_conf()`)
	b.instance(0).AwaitReady(readyAgainTime)
	b.chargedOnce(key(0), b.charge(0, key(0)))
}

// A transaction of the instance's own may fit where those of money do not, for example on
// a disk that is full. So failed charges count, and the instance is not ready again until
// a new file could be written.
func TestInstanceIsNotReadyWhileDatabaseFailsCharges(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, setBudget)
	b.exec(`CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN RAISE disk_full USING MESSAGE = 'no space left on device'; END $$`)
	b.exec(`CREATE TRIGGER full_disk BEFORE INSERT ON entries EXECUTE FUNCTION full_disk()`)
	b.exec(`CREATE TRIGGER full_disk BEFORE INSERT ON readiness_probe
		EXECUTE FUNCTION full_disk()`)
	b.putOff(b.charge(0, key(0)), budget+margin)
	b.instance(0).AwaitNotReady(notReadyTime)
	await.Until(t, readyAgainTime, "the log says that recovery failed", func() bool {
		log := b.instance(0).Stderr.String()
		return strings.Contains(log, `"not ready","error":"money transactions fail`) &&
			strings.Contains(log, `"not ready","error":"committing: ERROR: no space left`)
	})
	b.exec(`DROP TRIGGER full_disk ON entries`)
	b.exec(`DROP TRIGGER full_disk ON readiness_probe`)
	b.instance(0).AwaitReady(readyAgainTime)
	b.chargedOnce(key(0), b.charge(0, key(0)))
}
