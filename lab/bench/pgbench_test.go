package bench

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestLogLinesOfPgbench(t *testing.T) {
	t.Parallel()
	got, err := parseTransaction("3 17 1234 0 1700000000 250000")
	if err != nil || got.took != 1234*time.Microsecond ||
		!got.at.Equal(time.UnixMilli(1_700_000_000_250)) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, line := range []string{"3 17 failed 0 1700000000 250000",
		"3 17 skipped 0 1700000000 250000", "3 17 1234 0 17", ""} {
		if got, err := parseTransaction(line); err == nil {
			t.Errorf("%q is read as %+v", line, got)
		}
	}
}

// pgbenchOn is a pgbench with a merchant and accounts on a test's database.
func pgbenchOn(t *testing.T, db *pgtest.DB, accounts int) *pgbench {
	t.Helper()
	_, program, err := findPgbench(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	merchantID, _, err := merchants.Create(t.Context(), db.Pool, "pgbench")
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Pool.Exec(t.Context(), `
		INSERT INTO accounts (merchant_id, id, currency, overdraft_limit)
		SELECT $1, n::text, 'USD', NULL FROM generate_series($2::int, $3) AS n`, merchantID, firstAccount, firstAccount+accounts-1)
	if err != nil {
		t.Fatal(err)
	}
	return &pgbench{
		program: program, scratch: t.TempDir(), url: db.URL, merchantID: merchantID,
		answer: []byte(`{"id":"pay_1","status":"succeeded","metadata":{}}`),
	}
}

// rows counts what a charge writes.
type rows struct{ keys, payments, entries, events, answers int }

func countRows(t *testing.T, db *pgtest.DB) (n rows) {
	t.Helper()
	err := db.Pool.QueryRow(t.Context(), `
		SELECT (SELECT count(*) FROM idempotency_keys), (SELECT count(*) FROM payments), (SELECT count(*) FROM entries),
			(SELECT count(*) FROM events), (SELECT count(*) FROM idempotency_answers)`,
	).Scan(&n.keys, &n.payments, &n.entries, &n.events, &n.answers)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The books are audited by pgtest after the test: pgbench's charges are as good as the
// service's.
func TestPgbenchWritesWhatAChargeWritesAndTheBooksStayInOrder(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	p := pgbenchOn(t, db, 20)
	made := 0
	for _, pattern := range []Pattern{Uniform, Hot} {
		var m meter
		measured, err := p.measure(t.Context(), &m,
			Load{Connections: 4, Accounts: 20, Pattern: pattern, WarmUp: 0.1, Duration: 0.3})
		if err != nil {
			t.Fatal(err)
		}
		counted := measured.Charges > 0 && measured.Made > measured.Charges
		if !counted || measured.P50Millis == 0 || measured.P99Millis < measured.P50Millis {
			t.Errorf("%s: %+v", pattern, measured)
		}
		made += measured.Made
	}
	want := rows{keys: made, payments: made, entries: 2 * made, events: made, answers: made}
	if got := countRows(t, db); got != want {
		t.Errorf("after %d charges: got %+v, want %+v", made, got, want)
	}
	if left, err := os.ReadDir(p.scratch); err != nil || len(left) != 0 {
		t.Errorf("pgbench left %v, %v", left, err)
	}
}

func TestPricesLeaveOutWhatTheySay(t *testing.T) {
	t.Parallel()
	for without, want := range map[string]func(made int) rows{
		"keys": func(n int) rows { return rows{payments: n, entries: 2 * n, events: n} },
		"events": func(n int) rows {
			return rows{keys: n, payments: n, entries: 2 * n, answers: n}
		},
	} {
		t.Run(without, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewBroken(t)
			p := pgbenchOn(t, db, 20)
			p.without = without
			if _, err := db.Pool.Exec(t.Context(), disableKeyTrigger); err != nil {
				t.Fatal(err)
			}
			measured, err := p.measure(t.Context(), &meter{},
				Load{Connections: 2, Accounts: 20, Pattern: Uniform, Duration: 0.2})
			if err != nil {
				t.Fatal(err)
			}
			if got := countRows(t, db); got != want(measured.Made) {
				t.Errorf("after %d charges without %s: %+v", measured.Made, without, got)
			}
		})
	}
}

func TestAFailureOfPgbenchIsTold(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	p := pgbenchOn(t, db, 2)
	p.merchantID++ // who has no accounts
	_, err := p.measure(t.Context(), &meter{},
		Load{Connections: 1, Accounts: 2, Pattern: Uniform, WarmUp: 20, Duration: 1})
	if err == nil || errors.Is(err, t.Context().Err()) {
		t.Errorf("charging without accounts: %v", err)
	}
}
