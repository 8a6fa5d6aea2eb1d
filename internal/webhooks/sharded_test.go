package webhooks_test

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/internal/webhooks"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// timeOfColumn is the database's time and a column in one expression.
var timeOfColumn = regexp.MustCompile(`statement_timestamp\(\)[^,]*\b[a-z]\w*\.\w`)

// Citus refuses a change whose new values are made of a stable function and a column, also
// if a subquery makes them that the planner merges with the statement. So this reads the
// plans.
func TestNoNewValueIsMadeOfTheTimeAndAColumn(t *testing.T) {
	b := newBench(t)
	var sent statements
	pools, err := postgres.Open(t.Context(), postgres.Options{
		URL: b.db.URL, GeneralSize: 6, MoneySize: 1, Tracer: &sent,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pools.Close)
	s := b.service(func(c *webhooks.Config) {
		c.Pool, c.Feed = pools.General, outbox.NewFeed(pools.General, pgtest.Sharded())
	})
	to := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
	})
	b.put(s, "shop", webhooks.Terms{URL: to.URL})
	stop := b.run(s)
	b.insert(1, "payment.succeeded")
	await.Until(t, patience, "there are two attempts", func() bool {
		return len(b.attempts(s, "shop")) >= 2
	})
	stop()
	for sql, args := range sent.changes {
		if found := timeOfColumn.FindString(newValues(t, b.plan(sql, args))); found != "" {
			t.Errorf("a new value is %s in %s", found, sql)
		}
	}
	if len(sent.changes) < 4 {
		t.Errorf("only %d changes were seen", len(sent.changes))
	}
}

// newValues are what the node below an update hands to it.
func newValues(t *testing.T, plan string) string {
	t.Helper()
	found := regexp.MustCompile(`Update on [^>]*-> [^>]*?Output: (.*)`).FindStringSubmatch(plan)
	if found == nil {
		t.Fatalf("no update is found in\n%s", plan)
	}
	return found[1]
}

func (b *bench) plan(sql string, args []any) string {
	b.t.Helper()
	rows, err := b.db.Pool.Query(b.t.Context(), `EXPLAIN (VERBOSE, COSTS off) `+sql, args...)
	if err != nil {
		b.t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
	return strings.Join(lines, "\n")
}

// statements remembers the UPDATEs that a pool has sent, with the parameters of the last.
type statements struct {
	mu      sync.Mutex
	changes map[string][]any
}

func (s *statements) note(sql string, args []any) {
	if !strings.Contains(sql, "UPDATE ") || !strings.Contains(sql, "SET ") {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes == nil {
		s.changes = map[string][]any{}
	}
	s.changes[sql] = args
}

func (s *statements) TraceQueryStart(
	ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData,
) context.Context {
	s.note(data.SQL, data.Args)
	return ctx
}

func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (s *statements) TraceBatchStart(
	ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData,
) context.Context {
	for _, q := range data.Batch.QueuedQueries {
		s.note(q.SQL, q.Arguments)
	}
	return ctx
}

func (s *statements) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (s *statements) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}
