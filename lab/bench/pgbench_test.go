package bench

import (
	"context"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestLogLinesOfPgbench(t *testing.T) {
	t.Parallel()
	got, err := parseCharge("3 17 1234 0 1700000000 250000")
	if err != nil || got.took != 1234*time.Microsecond ||
		!got.at.Equal(time.UnixMilli(1_700_000_000_250)) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, line := range []string{"3 17 failed 0 1700000000 250000", "3 17 1234 0 17", ""} {
		if got, err := parseCharge(line); err == nil {
			t.Errorf("%q is read as %+v", line, got)
		}
	}
}

// pgbenchOn is a pgbench with a merchant and accounts on a test's database.
func pgbenchOn(t *testing.T, db *pgtest.DB) *pgbench {
	t.Helper()
	binaries, err := findBinaries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	merchantID, _, err := merchants.Create(t.Context(), db.Pool, "pgbench")
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Pool.Exec(t.Context(), `
		INSERT INTO accounts (merchant_id, id, currency, overdraft_limit)
		SELECT $1, n::text, 'USD', NULL FROM generate_series($2::int, $3) AS n`,
		merchantID, firstAccount, firstAccount+19)
	if err != nil {
		t.Fatal(err)
	}
	return &pgbench{
		program: binaries.Program("pgbench"), scratch: t.TempDir(), url: db.URL,
		merchantID: merchantID, answer: []byte(`{"id":"pay_1","metadata":{}}`),
	}
}

// rows are the numbers of keys, payments, entries, events and answers.
type rows [5]int

func countRows(t *testing.T, db *pgtest.DB) (got rows) {
	t.Helper()
	err := db.Pool.QueryRow(t.Context(), `
		SELECT
			(SELECT count(*) FROM idempotency_keys), (SELECT count(*) FROM payments),
			(SELECT count(*) FROM entries), (SELECT count(*) FROM events),
			(SELECT count(*) FROM idempotency_answers)`,
	).Scan(&got[0], &got[1], &got[2], &got[3], &got[4])
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// A price leaves out the rows of its guarantee, and no others.
func TestPgbenchWritesTheRowsOfACharge(t *testing.T) {
	t.Parallel()
	for without, each := range map[string]rows{
		"nothing": {1, 1, 2, 1, 1}, "keys": {0, 1, 2, 1, 0}, "events": {1, 1, 2, 0, 1},
	} {
		t.Run(without, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewBroken(t)
			p := pgbenchOn(t, db)
			p.without = without
			if _, err := db.Pool.Exec(t.Context(), disableKeyTrigger); err != nil {
				t.Fatal(err)
			}
			load := load{pattern: Uniform, connections: 4, accounts: 20}
			charges, err := p.charge(t.Context(), load, func(ctx context.Context, _ int) error {
				return sleep(ctx, 100*time.Millisecond)
			})
			if err != nil || len(charges) == 0 {
				t.Fatalf("%d charges, %v", len(charges), err)
			}
			for i := range each {
				each[i] *= len(charges)
			}
			if got := countRows(t, db); got != each {
				t.Errorf("after %d charges: got %v, want %v", len(charges), got, each)
			}
		})
	}
}
