package conformance

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/inprocess"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	svc "github.com/paymentsvc/paymentsvc/lab/service"
)

// ownSubjects are the real service and the one-file example, two instances each on a
// database of their own. The service runs in this process, but for the row that kills
// an instance.
func ownSubjects(t *testing.T, asked rows) []*subject {
	t.Helper()
	part, err := parseRows(oneFileRows)
	if err != nil {
		t.Fatal(err)
	}
	return []*subject{
		{
			name: "service", asked: asked, start: startService,
			startProcesses: startServiceProcesses,
		},
		{
			name: "onefile", asked: asked, start: startOneFile, startProcesses: startOneFile,
			has: part,
		},
	}
}

// oneFileRows are the rows of examples/onefile. It has neither merchants nor
// references, no ids for requests, and nothing that happens to a payment after its
// charge.
const oneFileRows = "1-4,5a,5b,5c,5f,7a,7b,8a,9a,9c,9e,9f,9g,9h,10a,10b,10c,12,16a,17,18"

// control is the power that a test has over instances and a database of its own. It has
// no part in a service at an address.
type control struct {
	// keeps transactions that charge an account in flight, and those with heldReference, if
	// there is one, as long as they have only their key
	hold          func(account string) (release func())
	heldReference string
	awaitWaiting  func(n int) // until n transactions wait for locks
	// ends the first instance with SIGKILL; nil: it is in this process
	kill func()
}

func startService(t *testing.T) service {
	t.Helper()
	db := pgtest.New(t)
	return serviceOf(t, db, inprocess.Start(t, db.URL).URL(), inprocess.Start(t, db.URL).URL(),
		nil)
}

func startServiceProcesses(t *testing.T) service {
	t.Helper()
	db := pgtest.New(t)
	instances := svc.StartFleet(t, 2, db.URL, svc.AllowDataLoss).Instances()
	return serviceOf(t, db, instances[0].URL(), instances[1].URL(), instances[0].Kill)
}

func serviceOf(t *testing.T, db *pgtest.DB, first, other string, kill func()) service {
	t.Helper()
	control := controlOf(t, db, kill, `
		WITH reference AS (
			INSERT INTO payment_references (merchant_id, reference, payment_id)
			SELECT merchant_id, 'held', gen_random_uuid() FROM accounts WHERE id = $1)`+
		pgtest.TakeNextEntries)
	control.heldReference = "held"
	return service{
		first: first, other: other,
		apiKey:      journal.CreateMerchant(t, db.URL).APIKey,
		otherAPIKey: journal.CreateMerchant(t, db.URL).APIKey,
		control:     control,
	}
}

func startOneFile(t *testing.T) service {
	t.Helper()
	db := pgtest.New(t)
	t.Cleanup(func() { auditOneFile(t, db) })
	first, other := svc.ServeOneFile(t, db.URL), svc.ServeOneFile(t, db.URL)
	return service{
		first: first.URL(), other: other.URL(),
		control: controlOf(t, db, first.Kill,
			`SELECT FROM onefile.accounts WHERE id = $1 FOR UPDATE`),
	}
}

func controlOf(t *testing.T, db *pgtest.DB, kill func(), hold string) control {
	t.Helper()
	return control{
		hold: func(account string) func() {
			t.Helper()
			tx, err := db.Pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			release := func() { tx.Rollback(context.WithoutCancel(t.Context())) }
			t.Cleanup(release)
			if _, err := tx.Exec(t.Context(), hold, account); err != nil {
				t.Fatal(err)
			}
			return release
		},
		awaitWaiting: func(n int) {
			t.Helper()
			await.Until(t, 10*time.Second, fmt.Sprintf("%d transactions wait", n), func() bool {
				var waiting int
				if err := db.Pool.QueryRow(t.Context(), `
					SELECT count(*) FROM pg_stat_activity
					WHERE datname = current_database() AND wait_event_type = 'Lock'`,
				).Scan(&waiting); err != nil {
					t.Fatal(err)
				}
				return waiting >= n
			})
		},
		kill: kill,
	}
}

// auditOneFile checks the example's books: the rows of every query are violations.
func auditOneFile(t *testing.T, db *pgtest.DB) {
	t.Helper()
	for what, query := range map[string]string{
		"a payment whose entries are not its amount, or do not sum to zero": `
			SELECT p.id
			FROM onefile.payments p LEFT JOIN onefile.entries e ON e.payment_id = p.id
			GROUP BY p.id
			HAVING count(e.amount) <> CASE p.status WHEN 'succeeded' THEN 2 ELSE 0 END
				OR sum(e.amount) <> 0 OR max(e.amount) <> p.amount`,
		"a balance that is not the sum of its entries": `
			SELECT a.id
			FROM onefile.accounts a LEFT JOIN onefile.entries e ON e.account_id = a.id
			GROUP BY a.id
			HAVING a.balance <> coalesce(sum(e.amount), 0)`,
		"a key without a payment and an answer, or with an answer that is not final": `
			SELECT key FROM onefile.idempotency_keys
			WHERE payment_id IS NULL OR answer IS NULL OR coalesce(status, 0) NOT IN (201, 402)`,
		"a payment without its key, or with two": `
			SELECT p.id
			FROM onefile.payments p LEFT JOIN onefile.idempotency_keys k ON k.payment_id = p.id
			GROUP BY p.id
			HAVING count(k.key) <> 1`,
	} {
		rows, err := db.Pool.Query(context.WithoutCancel(t.Context()), query)
		if err != nil {
			t.Error(err)
			continue
		}
		wrong, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil || len(wrong) > 0 {
			t.Errorf("%s: %q (%v)", what, wrong, err)
		}
	}
}
