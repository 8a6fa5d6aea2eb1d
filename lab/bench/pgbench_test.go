package bench

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// A benchmark switches sharded mode on by itself.
func TestMain(m *testing.M) {
	pgtest.OnOnePostgres()
	pgtest.Main(m)
}

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

// pgbenchOn is a pgbench with merchants of 20 accounts on a test's database.
func pgbenchOn(t *testing.T, db *pgtest.DB, n int) *pgbench {
	t.Helper()
	binaries, err := findBinaries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first, err := createForPgbench(t.Context(), db.Pool, n)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Pool.Exec(t.Context(), `
		INSERT INTO accounts (merchant_id, id, currency, overdraft_limit)
		SELECT m.id, n::text, 'USD', NULL
		FROM merchants m, generate_series($1::int, $2) AS n`, firstAccount, firstAccount+19)
	if err != nil {
		t.Fatal(err)
	}
	return &pgbench{
		program: binaries.Program("pgbench"), scratch: t.TempDir(), url: db.URL,
		firstMerchant: first, answer: []byte(`{"id":"pay_1","metadata":{}}`),
	}
}

// chargeDuring returns the number of charges.
func (p *pgbench) chargeDuring(t *testing.T, l load, observe observer) int {
	t.Helper()
	l.connections, l.accounts = 4, 20
	charges, err := p.charge(t.Context(), l, observe)
	if err != nil || len(charges) == 0 {
		t.Fatalf("%d charges, %v", len(charges), err)
	}
	return len(charges)
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
			p := pgbenchOn(t, db, 1)
			p.without = without
			if _, err := db.Pool.Exec(t.Context(), disableKeyTrigger); err != nil {
				t.Fatal(err)
			}
			charges := p.chargeDuring(t, load{pattern: Uniform, merchants: 1},
				func(ctx context.Context, _ int) error {
					return sleep(ctx, 100*time.Millisecond)
				})
			for i := range each {
				each[i] *= charges
			}
			if got := countRows(t, db); got != each {
				t.Errorf("after %d charges: got %v, want %v", charges, got, each)
			}
		})
	}
}

func TestPgbenchChargesEveryMerchant(t *testing.T) {
	t.Parallel()
	for _, pattern := range []Pattern{Uniform, Hot} {
		t.Run(string(pattern), func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			p := pgbenchOn(t, db, 3)
			var merchants, payments, cold int
			count := func() error {
				return db.Pool.QueryRow(t.Context(), `
					SELECT count(DISTINCT merchant_id), count(*), count(*) FILTER
						(WHERE $1 NOT IN (source_account, destination_account))
					FROM payments`, accountID(0)).Scan(&merchants, &payments, &cold)
			}
			charges := p.chargeDuring(t, load{pattern: pattern, merchants: 3},
				func(ctx context.Context, _ int) error {
					return poll(ctx, "payments of three merchants", func() (bool, error) {
						err := count()
						return merchants == 3 && payments > 20, err
					})
				})
			if err := count(); err != nil || payments != charges ||
				(pattern == Hot) != (cold == 0) {
				t.Errorf("%d charges, %d payments, %d without the hot account, %v",
					charges, payments, cold, err)
			}
		})
	}
}

// Published numbers with one merchant stay comparable only if the script does not change.
func TestPgbenchRunsTheBareScriptForOneMerchant(t *testing.T) {
	t.Parallel()
	p := pgbench{firstMerchant: 7}
	if got := p.script(load{merchants: 1}); !bytes.Equal(got, pgbenchScript) {
		t.Errorf("got:\n%s", got)
	}
}
