package torture

import (
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// stoppedHolderTime is how long a stopped process may keep others from an account or a
// key: the server ends its transaction after two idle seconds.
const stoppedHolderTime = 2*time.Second + margin

// The instance is stopped while its first round trip, which claims and locks, waits for
// the test, which has the key. After the release the server completes that round trip, and waits
// for the second one.
func TestStoppedInstanceBlocksOthersForSecondsOnly(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2)
	stopped := b.instance(0)
	b.chargedOnce(key(0), b.charge(1, key(0))) // it knows the merchant
	release := b.hold(`
		INSERT INTO idempotency_keys (merchant_id, scope, key, operation, fingerprint,
			fingerprint_version, request_id, payment_id)
		VALUES ($1, 'client', $2, 'charge', sha256(''), 1, gen_random_uuid(), gen_random_uuid())`,
		b.merchant.ID, key(1))
	late := started(func() journal.Answer { return b.charge(0, key(1)) })
	b.awaitBackend("the charge waits for its key", waitsForLock)
	stopped.Stop()
	defer stopped.Cont()
	release()
	b.awaitBackend("the stopped instance holds its locks", idleInTransaction)

	sameAccount := started(func() journal.Answer { return b.charge(1, key(2)) })
	sameKey := b.charge(1, key(1))
	for what, answer := range map[string]journal.Answer{
		"the same key": sameKey, "the same account": <-sameAccount,
	} {
		if answer.Class() != journal.Ack || answer.Took() > stoppedHolderTime {
			t.Errorf("%s was answered on the other instance: %v", what, answer)
		}
	}
	stopped.Cont()
	b.chargedOnce(key(1), sameKey, <-late)
	b.chargedOnce(key(2), b.charge(0, key(2)))
}

// The table stays locked for longer than the service has patience: the transaction is
// given up, and nothing of it stays behind.
func TestChargeAtALockedTableIsRolledBack(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	b.chargedOnce(key(0), b.charge(0, key(0)))
	release := b.hold(`LOCK TABLE payments`)
	const patience = 15 * time.Second // the default of REQUEST_TIMEOUT
	b.putOff(b.charge(0, key(1)), patience+margin)
	b.healthAnswers(0, http.StatusOK)
	await.Until(t, 2*time.Second, "its transaction has been given up", func() bool {
		return b.backends(isMoney+" AND "+waitsForLock) == 0 &&
			b.backends(isMoney+" AND "+inTransaction) == 0
	})
	release()
	b.nothingStored(key(1))
	b.chargedOnce(key(1), b.charge(0, key(1)), b.charge(0, key(1)))
	b.no5xxStored()
}

// The table is locked for less than that: the caller was put off, the charge was not,
// and the same key finds it.
func TestChargeSlowerThanItsRequestIsFoundByItsKey(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, setBudget)
	b.chargedOnce(key(0), b.charge(0, key(0)))
	release := b.hold(`LOCK TABLE payments`)
	answer := b.charge(0, key(1))
	b.putOff(answer, budget+margin)
	if answer.Code() != "outcome_unknown" {
		t.Errorf("a charge that is still on its way is told as %v", answer)
	}
	release()
	b.chargedOnce(key(1), b.charge(0, key(1)), b.charge(0, key(1)))
}

// Postgres is stopped, so its connections are open and silent.
func TestStoppedPostgresIsNoticedInTime(t *testing.T) {
	t.Parallel()
	b, cluster := newDurableBench(t, 1, nil, setBudget)
	b.chargedOnce(key(0), b.charge(0, key(0)))
	thaw := b.freeze(cluster)
	var answers []<-chan journal.Answer
	for i := range 10 {
		answers = append(answers, started(func() journal.Answer { return b.charge(0, key(i)) }))
	}
	b.instance(0).AwaitNotReady(notReadyTime)
	b.healthAnswers(0, http.StatusServiceUnavailable)
	for _, answer := range answers {
		b.putOff(<-answer, budget+margin)
	}
	thaw()
	b.instance(0).AwaitReady(readyAgainTime)
	for i := range answers {
		b.chargedOnce(key(i), b.charge(0, key(i)), b.charge(0, key(i)))
	}
	b.no5xxStored()
}

// freeze stops every process of a server.
func (b *bench) freeze(cluster *pgtest.Cluster) (thaw func()) {
	b.Helper()
	conn := b.connect() // while somebody answers
	postmaster := cluster.PID()
	b.must(syscall.Kill(postmaster, syscall.SIGSTOP)) // from now on it starts no others
	pids := append(b.serverProcesses(conn), postmaster)
	thaw = sync.OnceFunc(func() {
		for _, pid := range pids {
			// one may have ended since, of what waited for it
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	})
	b.Cleanup(thaw)
	for _, pid := range pids {
		b.must(syscall.Kill(pid, syscall.SIGSTOP))
	}
	return thaw
}

// serverProcesses are all but the postmaster, once one that was just being started has
// appeared among them.
func (b *bench) serverProcesses(conn *pgx.Conn) (pids []int) {
	b.Helper()
	await.Until(b, margin, "no process is being started", func() bool {
		rows, err := conn.Query(b.Context(), `SELECT pid FROM pg_stat_activity ORDER BY pid`)
		b.must(err)
		before := pids
		pids, err = pgx.CollectRows(rows, pgx.RowTo[int])
		b.must(err)
		return slices.Equal(pids, before)
	})
	return pids
}
