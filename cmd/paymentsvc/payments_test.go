package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/inprocess"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// The id of the payment, and that of each request that changed it, lead to the same story.
// No table that grows is scanned.
func TestOperatorReadsThePaymentsStory(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := inprocess.Start(t, db.URL)
	m := journal.NewMerchant(t, in, db.URL)
	send := func(key, path, body string) journal.Answer {
		t.Helper()
		answer := m.Do(t.Context(), http.MethodPost, in.URL()+path, key, []byte(body))
		if answer.Status >= 400 && answer.Status != http.StatusPaymentRequired {
			t.Fatal(answer)
		}
		return answer
	}
	charge := func(key string, members string) journal.Answer {
		t.Helper()
		return send(key, "/payments", fmt.Sprintf(`{%s"amount":100,"currency":%q,`+
			`"source_account":%q,"destination_account":%q}`, members, journal.Currency,
			journal.World, journal.Shops[0]))
	}
	for i := range 20 {
		charge(fmt.Sprint("before ", i), "")
	}
	authorized := charge("order-1017-of-alice", `"capture":false,`)
	path := authorized.Header.Get("Location")
	captured := send("capture", path+"/capture", "")
	refunded := send("k", path+"/refunds", `{"amount":40}`)
	declined := send("poor", "/payments", fmt.Sprintf(`{"amount":1,"currency":%q,`+
		`"source_account":%q,"destination_account":"world"}`, journal.Currency, journal.Poor))
	for i := range 20 {
		charge(fmt.Sprint("after ", i), "")
	}

	scans := func() (n int) {
		t.Helper()
		if err := db.Pool.QueryRow(t.Context(), `
			SELECT sum(seq_scan)::int FROM pg_stat_user_tables
			WHERE relname IN ('payments', 'refunds', 'entries', 'events', 'idempotency_keys',
				'idempotency_answers')`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if _, err := db.Pool.Exec(t.Context(), `ANALYZE`); err != nil { // so the planner likes scans
		t.Fatal(err)
	}
	before := scans()
	want := regexp.MustCompile(`^` + authorized.PaymentID() + ` of merchant ` + fmt.Sprint(m.ID) +
		` is succeeded: 100 \w+ from world to \S+, captured 100, refunded 40, version 3
\S+Z  key     charge, claimed by ` + authorized.RequestID() + `: order-10…
\S+Z  event   payment.authorized evt_\w{48}
\S+Z  answer  201 to ` + authorized.RequestID() + `
\S+Z  entry   world #\d+: -100 \w+, balance -\d+
\S+Z  entry   \S+ #\d+: 100 \w+, balance \d+
\S+Z  event   payment.succeeded evt_\w{48}
\S+Z  answer  200 to ` + captured.RequestID() + `
\S+Z  key     refund, claimed by ` + refunded.RequestID() + `: …
\S+Z  entry   world #\d+: 40 \w+, balance -\d+
\S+Z  entry   \S+ #\d+: -40 \w+, balance \d+
\S+Z  event   refund.succeeded evt_\w{48}
\S+Z  answer  201 to ` + refunded.RequestID() + `
$`)
	for _, id := range []string{
		authorized.PaymentID(), authorized.RequestID(), captured.RequestID(), refunded.RequestID(),
	} {
		if code, out, complaints := command(t, db, "payments", "show", id); code != 0 ||
			!want.MatchString(out) {
			t.Errorf("%s: exit code %d\n%s\n%s", id, code, out, complaints)
		}
	}
	if _, out, _ := command(t, db, "payments", "show", declined.RequestID()); !strings.Contains(
		out, "answer  402 to "+declined.RequestID(),
	) || strings.Contains(out, "entry") {
		t.Error("of a decline it prints ", out)
	}
	for _, id := range []string{"pay_" + strings.Repeat("0", 32), "req_7", "order-1017"} {
		code, out, complaints := command(t, db, "payments", "show", id)
		if code != 1 || out != "" || !strings.Contains(complaints, "there is no such payment") {
			t.Errorf("%s: exit code %d\n%s\n%s", id, code, out, complaints)
		}
	}
	if after := scans(); after != before {
		t.Errorf("%d tables were scanned", after-before)
	}
	await.Until(t, time.Minute, "the retention has deleted all events", func() (none bool) {
		if _, err := outbox.DeleteExpired(t.Context(), db.Pool, 0, 1000); err != nil {
			t.Fatal(err)
		}
		if err := db.Pool.QueryRow(t.Context(), `
			SELECT NOT EXISTS (SELECT FROM events)`).
			Scan(&none); err != nil {
			t.Fatal(err)
		}
		return none
	})
	want = regexp.MustCompile(regexp.MustCompile(`(?m)^.*  event   .*\n`).
		ReplaceAllString(want.String(), ""))
	if _, out, _ := command(t, db, "payments", "show", captured.PaymentID()); !want.MatchString(
		out) {
		t.Errorf("without its events it is\n%s", out)
	}
}
