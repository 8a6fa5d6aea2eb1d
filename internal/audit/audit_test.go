package audit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/audit"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

func TestLimitIsForEachInvariant(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db)
	admin := superuser(t, db)
	const breaks = ` -- six violations of I2 and of I8
		UPDATE accounts SET balance = balance + 1;
		DELETE FROM events WHERE id <> named('b5c')`
	for limit, want := range map[int]int{0: 0, 1: 1, 3: 3, 6: 6, 100: 6} {
		reported := map[string]int{}
		for _, line := range afterBreaking(t, admin, breaks, limit) {
			reported[invariantOf(line)]++
		}
		for _, invariant := range []string{"i2", "i8"} {
			if got := reported[invariant]; got != want {
				t.Errorf("limit %d: %d violations of %s, want %d", limit, got, invariant, want)
			}
		}
	}
}

func TestFailedAuditIsNoCleanAudit(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	admin := superuser(t, db)
	if err := admin.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if violations, err := audit.Run(t.Context(), admin, 100); err == nil ||
		!strings.Contains(err.Error(), "auditing") {
		t.Errorf("the audit reports %v, %v; want an error", violations, err)
	}
}

// For a LIMIT the planner prefers a plan that finds its first rows early. Good books
// have none.
func TestLimitDoesNotSlowTheAudit(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db)
	if _, err := db.Pool.Exec(t.Context(), `
		SELECT claim('key ' || n, 'c0' || n, 'e0' || n), answer('e0' || n, 201, 'c0' || n),
			tell('b0' || n, 'succeeded', 'c0' || n)
		FROM generate_series(1, 6000) AS n;
		SELECT pay('c0' || n, 'key ' || n, 'succeeded', 'world', 'idle', 1, NULL)
		FROM generate_series(1, 6000) AS n;
		INSERT INTO entries (merchant_id, account_id, sequence, journal_id, payment_id, currency,
			amount, balance_after, at)
		SELECT 1, side.account, n + side.before, named('c0' || n), named('c0' || n), 'USD',
			side.minor, side.balance + n * side.minor, '2026-11-01 10:00Z'
		FROM generate_series(1, 6000) AS n
		CROSS JOIN (VALUES ('world', 1, -1, -1000), ('idle', 0, 1, 0))
			AS side (account, before, minor, balance);
		UPDATE accounts SET balance = -7000, last_sequence = 6001 WHERE id = 'world';
		UPDATE accounts SET balance = 6000, last_sequence = 6000,
			last_entry_at = '2026-11-01 10:00Z'
		WHERE id = 'idle'`); err != nil {
		t.Fatal(err)
	}
	whole := timeOfAudit(t, db, 1_000_000)
	for _, limit := range []int{1, 20} {
		if took := timeOfAudit(t, db, limit); took > 5*whole {
			t.Errorf("an audit took %v with a limit of %d, and %v without", took, limit, whole)
		}
	}
}

// timeOfAudit is the shorter of two tries, because other tests use the machine too.
func timeOfAudit(t *testing.T, db *pgtest.DB, limit int) time.Duration {
	t.Helper()
	best := time.Hour
	for range 2 {
		start := time.Now()
		if _, err := audit.Run(t.Context(), db.Pool, limit); err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Since(start))
	}
	return best
}
