package torture

import (
	"context"
	"errors"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// An administrator ends connections, and a COMMIT that became durable
// is answered with a fatal error.
func TestNoAckedChargeIsLostOrDoubledWhenBackendsAreTerminated(t *testing.T) {
	t.Parallel()
	b, _ := newDurableBench(t, 2, slowCommit)
	b.judged(func(journal *journal.Journal) {
		for range 40 {
			b.awaitCommit()
			journal.Strike(t, "pg_terminate_backend", "", func() {
				b.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
					WHERE application_name LIKE 'paymentsvc%' AND ` + inTransaction)
			})
		}
	})
	b.ranAgain()
	unknown := 0
	for _, in := range b.fleet.Instances() {
		unknown += in.Stderr.Count(`"outcome_unknown":true`)
	}
	if unknown == 0 {
		t.Error("no COMMIT lost its acknowledgement, so this test shows too little")
	}
}

const inTransaction = `xact_start IS NOT NULL AND state <> 'idle'`

// One backend that is killed takes all others with it, and the server recovers from its
// log.
func TestNoAckedChargeIsLostOrDoubledWhenABackendIsKilled(t *testing.T) {
	t.Parallel()
	b, _ := newDurableBench(t, 2, slowCommit)
	b.judged(func(journal *journal.Journal) {
		for range 2 {
			b.awaitCommit()
			pid := b.number(
				`SELECT max(pid) FROM pg_stat_activity WHERE application_name LIKE 'paymentsvc%'`,
			)
			journal.Strike(t, "kill -9 of a backend", "", func() {
				b.must(syscall.Kill(pid, syscall.SIGKILL))
			})
			journal.AwaitAnswers(t, clients)
			b.awaitReadyAgain()
		}
	})
	b.ranAgain()
}

// A primary that was demoted, or made read-only by its operator.
func TestReadOnlyDatabaseStoresNoAnswer(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, setBudget)
	b.chargedOnce(key(0), b.charge(0, key(0)))
	alter := func(change string) {
		b.exec(`DO $$ BEGIN
			EXECUTE format('ALTER DATABASE %I ` + change + `', current_database());
		END $$`)
	}
	alter("SET default_transaction_read_only = on")
	b.disconnect()
	b.instance(0).AwaitNotReady(notReadyTime)
	b.putOff(b.charge(0, key(1)), budget+margin)
	b.putOff(b.charge(0, key(0)), budget+margin) // a replay claims, too
	b.healthAnswers(0, http.StatusServiceUnavailable)
	b.nothingStored(key(1))
	alter("RESET default_transaction_read_only")
	b.instance(0).AwaitReady(readyAgainTime)
	b.chargedOnce(key(1), b.charge(0, key(1)), b.charge(0, key(1)))
	b.chargedOnce(key(0), b.charge(0, key(0)))
	b.no5xxStored()
}

// disconnect ends every connection of the service, as a failover does.
func (b *bench) disconnect() {
	b.Helper()
	b.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE application_name LIKE 'paymentsvc%' AND datname = current_database()`)
}

// A neighbour takes every connection that the server has.
func TestServiceOutlivesAServerWithoutAFreeConnection(t *testing.T) {
	t.Parallel()
	b, cluster := newDurableBench(t, 1, map[string]string{"max_connections": "20"}, setBudget)
	b.chargedOnce(key(0), b.charge(0, key(0)))
	release := b.takeAllConnections(cluster)
	b.instance(0).AwaitNotReady(notReadyTime)
	b.putOff(b.charge(0, key(1)), budget+margin)
	b.healthAnswers(0, http.StatusServiceUnavailable)
	release()
	b.instance(0).AwaitReady(readyAgainTime)
	b.chargedOnce(key(1), b.charge(0, key(1)), b.charge(0, key(1)))
	b.no5xxStored()
}

// takeAllConnections takes every connection that is not kept for superusers, also those
// that the service has.
func (b *bench) takeAllConnections(cluster *pgtest.Cluster) (release func()) {
	b.Helper()
	all := b.number(`SELECT current_setting('max_connections')::int
		- current_setting('superuser_reserved_connections')::int`) - 1 // one is the test's own
	var taken []*pgx.Conn
	release = func() {
		for _, conn := range taken {
			_ = conn.Close(context.Background())
		}
		taken = nil
	}
	b.Cleanup(release)
	await.Until(b, 10*time.Second, "the service has lost its connections", func() bool {
		b.disconnect()
		conn, err := pgx.Connect(b.Context(), cluster.URL())
		if err != nil {
			b.mustBeFull(err)
			return len(taken) == all
		}
		taken = append(taken, conn)
		return len(taken) == all
	})
	return release
}

func (b *bench) mustBeFull(err error) {
	b.Helper()
	var reported *pgconn.PgError
	if !errors.As(err, &reported) || reported.Code != "53300" { // too_many_connections
		b.Fatal(err)
	}
}
