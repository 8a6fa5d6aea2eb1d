package torture

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgserver"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/service"
)

// reader follows a merchant's feed, as a program does that keeps its cursor.
type reader struct {
	*testing.T
	merchant *journal.Merchant
	cursor   string   // "": none
	seen     []string // payments, in the order of their events
	lost     bool     // it was told that its cursor is lost
}

// read reads to the end of the feed, as an instance has it now.
func (r *reader) read(in *service.Instance) {
	r.Helper()
	for !r.lost {
		url := in.URL() + "/events?limit=100"
		if r.cursor != "" {
			url += "&cursor=" + r.cursor
		}
		answer := r.merchant.Do(r.Context(), http.MethodGet, url, "", nil)
		if answer.Status == http.StatusGone && answer.Code() == "cursor_lost" {
			r.lost = true
			return
		}
		var page struct {
			Data []struct {
				PaymentID string `json:"payment_id"`
			}
			NextCursor string `json:"next_cursor"`
		}
		if err := json.Unmarshal(answer.Body, &page); answer.Status != http.StatusOK ||
			err != nil {
			r.Fatalf("reading the feed: %v, %v", answer, err)
		}
		for _, e := range page.Data {
			r.seen = append(r.seen, e.PaymentID)
		}
		if page.NextCursor == r.cursor {
			return
		}
		r.cursor = page.NextCursor
	}
}

// readUntil reads until the last event is that of a payment.
func (r *reader) readUntil(in *service.Instance, payment string) {
	r.Helper()
	await.Until(r, readyAgainTime, "the reader sees "+payment, func() bool {
		r.read(in)
		if r.lost {
			r.Fatal("the cursor is lost")
		}
		return len(r.seen) > 0 && r.seen[len(r.seen)-1] == payment
	})
}

// copy is another reader at the same place.
func (r *reader) copy() *reader {
	other := *r
	return &other
}

// pay charges, and returns the payment.
func pay(t *testing.T, m *journal.Merchant, in *service.Instance, key string) string {
	t.Helper()
	answer := m.Charge(t.Context(), in.URL(), key, journal.NewCharge(100))
	if answer.Status != http.StatusCreated {
		t.Fatalf("charging: %v", answer)
	}
	return answer.PaymentID()
}

// The copy is a standby that has not got the last commits: it takes over after a failover,
// or is what a restore to an earlier time brings back.
func TestReaderOfAnOlderCopyIsTold(t *testing.T) {
	t.Parallel()
	primary := pgtest.Durable(t, nil)
	older := primary.Standby(t)
	b := benchAt(t, 1, primary.URL(), primary.AdminURL())
	in := b.instance(0)
	r := &reader{T: t, merchant: b.merchant}
	r.readUntil(in, pay(t, b.merchant, in, "both have it"))
	behind := r.copy()

	standby, err := pgx.Connect(t.Context(), older.AdminURL())
	b.must(err)
	t.Cleanup(func() { _ = standby.Close(context.Background()) })
	ask := func(sql string) (yes bool) {
		b.must(standby.QueryRow(t.Context(), sql).Scan(&yes))
		return yes
	}
	flushed := b.number(`SELECT pg_current_wal_flush_lsn() - '0/0'`)
	await.Until(t, readyAgainTime, "the standby has what was committed", func() bool {
		return ask(fmt.Sprintf(`SELECT pg_last_wal_replay_lsn() - '0/0' >= %d`, flushed))
	})
	for _, sql := range []string{
		`ALTER SYSTEM SET primary_conninfo = ''`, `SELECT pg_reload_conf()`,
	} {
		_, err := standby.Exec(t.Context(), sql)
		b.must(err)
	}
	await.Until(t, readyAgainTime, "the standby no longer follows", func() bool {
		return ask(`SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver)`)
	})
	for i := range 3 {
		r.readUntil(in, pay(t, b.merchant, in, fmt.Sprint("only the primary has it ", i)))
	}
	in.Terminate()
	b.must(primary.Kill())
	_, err = standby.Exec(t.Context(), `SELECT pg_promote()`)
	b.must(err)

	after := service.Start(t, older.URL())
	ahead := r.copy()
	if ahead.read(after); !ahead.lost {
		t.Errorf("a reader of the lost commits reads on: %v", ahead.seen[len(r.seen):])
	}
	var made []string
	for i := range 50 { // past the transaction ids that the primary had given out
		made = append(made, pay(t, b.merchant, after, fmt.Sprint("after it ", i)))
		late := r.copy()
		if late.read(after); !late.lost {
			t.Fatalf("after %d payments, a reader of the lost commits reads on", i)
		}
	}
	before := len(behind.seen)
	behind.readUntil(after, made[len(made)-1])
	if got := fmt.Sprint(behind.seen[before:]); got != fmt.Sprint(made) {
		t.Errorf("a reader that was behind sees %s, want %v", got, made)
	}
}

// A dump has no counter of transaction ids, and the new server begins to count at the
// beginning.
func TestDumpServesOnlyAfterItsTransactionIDsAreUsedUp(t *testing.T) {
	t.Parallel()
	old, fresh := pgtest.Durable(t, nil), pgtest.Durable(t, nil)
	b := benchAt(t, 1, old.URL(), old.AdminURL())
	burn := `DO $$ BEGIN SET synchronous_commit = off;
		FOR i IN 1..20000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$`
	b.exec(burn)
	in := b.instance(0)
	r := &reader{T: t, merchant: b.merchant}
	r.readUntil(in, pay(t, b.merchant, in, "before the dump"))
	in.Terminate()

	programs, err := pgserver.FindBinaries(t.Context())
	b.must(err)
	dump := filepath.Join(t.TempDir(), "dump")
	for _, args := range [][]string{
		{"pg_dump", "--format=custom", "--file=" + dump, old.AdminURL()},
		{
			"pg_restore", "--no-owner", "--clean", "--if-exists", "--exit-on-error",
			"--dbname=" + fresh.URL(), dump,
		},
	} {
		if out, err := exec.Command(programs.Program(args[0]), args[1:]...).
			CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", args[0], err, out)
		}
	}
	refused(t, []string{"DATABASE_URL=" + fresh.URL(), "SHARDED_UNTRIED=true"},
		"After a pg_restore")

	manual, err := os.ReadFile("../../docs/operations.md")
	b.must(err)
	block := regexp.MustCompile("(?s)```sql\n(DO [^`]*)```").FindSubmatch(manual)
	owner, err := pgx.Connect(t.Context(), fresh.URL())
	b.must(err)
	_, err = owner.Exec(t.Context(), string(block[1]))
	b.must(err)
	b.must(owner.Close(t.Context()))
	after := service.Start(t, fresh.URL())
	r.readUntil(after, pay(t, b.merchant, after, "after the restore"))
	all := &reader{T: t, merchant: b.merchant}
	all.read(after)
	if fmt.Sprint(all.seen) != fmt.Sprint(r.seen) {
		t.Errorf("a new reader sees %v, the old one %v", all.seen, r.seen)
	}
}

// A worker deletes events after their time. The audit after the test knows that.
func TestEventsAreDeletedAfterTheirTime(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, "EVENT_RETENTION=1s")
	for i := range 5 {
		pay(t, b.merchant, b.instance(i%2), fmt.Sprint("old ", i))
	}
	r := &reader{T: t, merchant: b.merchant}
	await.Until(t, 20*time.Second, "every event is deleted", func() bool {
		return b.number(`SELECT count(*) FROM events`) == 0
	})
	r.read(b.instance(0))
	if len(r.seen) > 0 || r.cursor == "" {
		t.Errorf("the feed has %v, and the cursor %q", r.seen, r.cursor)
	}
}

// Shutdown waits for requests, and a stream does not end by itself.
func TestStreamEndsCleanlyAtShutdown(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, "SHUTDOWN_DELAY=10ms", "SHUTDOWN_TIMEOUT=15s")
	in := b.instance(0)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, in.URL()+"/events",
		http.NoBody)
	b.must(err)
	r.Header = http.Header{
		"Authorization": {"Bearer " + b.merchant.APIKey}, "Accept": {"text/event-stream"},
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	stream, err := transport.RoundTrip(r)
	b.must(err)
	defer stream.Body.Close()
	lines := bufio.NewScanner(stream.Body)
	await.Until(t, readyAgainTime, "the stream has begun", func() bool {
		return lines.Scan() && strings.HasPrefix(lines.Text(), "id: ")
	})
	in.Signal(syscall.SIGTERM)
	for lines.Scan() {
		continue
	}
	if err := lines.Err(); err != nil {
		t.Errorf("the stream does not end cleanly: %v", err)
	}
	if code := in.ExitCode(); code != 0 {
		t.Errorf("the exit code is %d", code)
	}
}
