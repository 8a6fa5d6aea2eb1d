package httpapi_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// page is one page of a list.
type page[T any] struct {
	Data       []T
	NextCursor *string `json:"next_cursor"`
}

type payment struct {
	ID, Status, Reference string
	Source                string `json:"source_account"`
	Destination           string `json:"destination_account"`
	CreatedAt             string `json:"created_at"`
}

type entry struct {
	Sequence, Amount int64
	Currency         string
	BalanceAfter     int64  `json:"balance_after"`
	PaymentID        string `json:"payment_id"`
	At               string
}

func readPage[T any](a *answer) (p page[T]) {
	a.t.Helper()
	var members map[string]json.RawMessage
	a.want(200).decode(&members)
	if len(members) != 2 || members["data"] == nil || members["next_cursor"] == nil {
		a.fail("is not a list")
	}
	a.decode(&p)
	return p
}

func (m *merchant) payments(query string) page[payment] {
	m.t.Helper()
	return readPage[payment](m.get("/payments" + query))
}

func (m *merchant) accounts(query string) page[account] {
	m.t.Helper()
	return readPage[account](m.get("/accounts" + query))
}

func (m *merchant) entries(path string) page[entry] {
	m.t.Helper()
	return readPage[entry](m.get(path))
}

// readAll follows a list's cursors from its first page, with the given parameters, to
// its end. After each page it calls between.
func readAll[T any](m *merchant, path string, parameters url.Values, between func()) (all []T) {
	m.t.Helper()
	q := maps.Clone(parameters)
	for pages := 1; ; pages++ {
		p := readPage[T](m.get(path + "?" + q.Encode()))
		all = append(all, p.Data...)
		if p.NextCursor == nil {
			return all
		}
		if pages > 1000 {
			m.t.Fatalf("%s has no end", path)
		}
		q.Set("cursor", *p.NextCursor)
		between()
	}
}

func nothing() {}

func paymentIDs(payments []payment) (ids []string) {
	for _, p := range payments {
		ids = append(ids, p.ID)
	}
	return ids
}

// paymentsStored are the ids of the merchant's payments that meet a condition, as the
// database has them, newest first.
func (m *merchant) paymentsStored(condition string, args ...any) (ids []string) {
	m.t.Helper()
	rows, err := m.db.Pool.Query(context.Background(), `
		SELECT 'pay_' || replace(id::text, '-', '')
		FROM payments
		WHERE merchant_id = $1 AND `+condition+`
		ORDER BY id DESC`, append([]any{m.id}, args...)...)
	if err == nil {
		ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return ids
}

// wantUnderKey checks which payment is found by its key, as the key is written in a
// query; "" is none.
func (m *merchant) wantUnderKey(key, payment string) {
	m.t.Helper()
	found := m.get("/payments?idempotency_key=" + key).want(200)
	if want := `{"data":[` + payment + `],"next_cursor":null}`; string(found.body) != want {
		found.fail("is not %s", want)
	}
}

func TestPaymentsAreListedNewestFirstAndAsTheyAre(t *testing.T) {
	m := onTwoInstances(t)
	for i := range 25 {
		m.charge(fmt.Sprint("k", i), aliceToShop(1)).want(201)
	}
	stored := m.paymentsStored(`true`) // 27: two brought alice's money
	if first := m.payments(""); !slices.Equal(paymentIDs(first.Data), stored[:20]) ||
		first.NextCursor == nil {
		t.Errorf("the first page by default is %v", paymentIDs(first.Data))
	}
	for _, limit := range []string{"1", "2", "9", "26", "27", "28", "100"} {
		q := url.Values{"limit": {limit}}
		got := paymentIDs(readAll[payment](m, "/payments", q, nothing))
		if !slices.Equal(got, stored) {
			t.Errorf("by %s they are %v, want %v", limit, got, stored)
		}
	}
	if whole := m.payments("?limit=27"); len(whole.Data) != 27 || whole.NextCursor != nil {
		t.Errorf("a page that holds exactly all has %d, and goes on: %t", len(whole.Data),
			whole.NextCursor != nil)
	}
	one := m.get("/payments/" + stored[3])
	if listed := m.get("/payments"); !strings.Contains(string(listed.body), string(one.body)) {
		listed.fail("does not hold %s", one.body)
	}
}

func TestPaymentsAreFilteredByWhatTheyAre(t *testing.T) {
	m := onTwoInstances(t)
	m.put("bob", `{"currency":"USD"}`).want(201)
	for i := range 6 {
		m.charge(fmt.Sprint("shop", i),
			aliceToShop(1).with("reference", fmt.Sprint("order ", i, " ü+&"))).want(201)
		m.charge(fmt.Sprint("bob", i), aliceToShop(1).with("destination_account", "bob")).want(201)
		m.charge(fmt.Sprint("declined", i),
			aliceToShop(aliceHas).with("reference", "too dear")).want(402)
	}
	var third, last time.Time
	if err := m.db.Pool.QueryRow(t.Context(), `
		SELECT (array_agg(created_at ORDER BY id))[3], max(created_at)
		FROM payments WHERE merchant_id = $1`, m.id).Scan(&third, &last); err != nil {
		t.Fatal(err)
	}
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
	elsewhere := third.In(time.FixedZone("", -5400)).Format(time.RFC3339Nano)
	for _, test := range []struct {
		filters   url.Values
		condition string
		args      []any
		want      int // how many these are, so that no condition is met by nothing unnoticed
	}{
		{url.Values{"status": {"declined"}}, `status = 'declined'`, nil, 6},
		{url.Values{"status": {"succeeded"}}, `status = 'succeeded'`, nil, 14},
		{url.Values{"status": {"processing"}}, `false`, nil, 0},
		{url.Values{"reference": {"order 3 ü+&"}}, `reference = 'order 3 ü+&'`, nil, 1},
		{url.Values{"reference": {"too dear"}}, `reference = 'too dear'`, nil, 6},
		{url.Values{"reference": {"TOO DEAR"}}, `false`, nil, 0},
		{url.Values{"account": {"bob"}}, `destination_account = 'bob'`, nil, 6},
		{
			url.Values{"account": {"alice"}},
			`'alice' IN (source_account, destination_account)`,
			nil, 20,
		},
		{url.Values{"account": {"nobody"}}, `false`, nil, 0},
		{url.Values{"created_after": {at(third)}}, `created_at >= $2`, []any{third}, 18},
		{url.Values{"created_before": {at(third)}}, `created_at < $2`, []any{third}, 2},
		{url.Values{"created_after": {elsewhere}}, `created_at >= $2`, []any{third}, 18},
		{
			url.Values{"created_after": {at(third.Add(time.Nanosecond))}},
			`created_at > $2`,
			[]any{third},
			17,
		},
		{
			url.Values{"created_before": {at(third.Add(time.Nanosecond))}},
			`created_at <= $2`,
			[]any{third},
			3,
		},
		{url.Values{"created_after": {at(last)}, "created_before": {at(third)}}, `false`, nil, 0},
		{url.Values{"created_before": {"0001-01-01T00:00:00Z"}}, `false`, nil, 0},
		{url.Values{"created_before": {"9999-12-31T23:59:59.999999999Z"}}, `true`, nil, 20},
		{
			url.Values{
				"status": {"declined"}, "account": {"shop"}, "reference": {"too dear"},
				"created_after": {at(third)},
			},
			`status = 'declined' AND created_at >= $2`,
			[]any{third},
			6,
		},
		{url.Values{"status": {"declined"}, "account": {"bob"}}, `false`, nil, 0},
		{url.Values{"idempotency_key": {"bob2"}}, `idempotency_key = 'bob2'`, nil, 1},
		{
			url.Values{"idempotency_key": {"bob2"}, "account": {"bob"}, "status": {"succeeded"}},
			`idempotency_key = 'bob2'`, nil, 1,
		},
		{url.Values{"idempotency_key": {"bob2"}, "account": {"shop"}}, `false`, nil, 0},
		{url.Values{"idempotency_key": {"bob2"}, "created_before": {at(third)}}, `false`, nil, 0},
	} {
		want := m.paymentsStored(test.condition, test.args...)
		if len(want) != test.want {
			t.Fatalf("%s is met by %d, and not by %d", test.condition, len(want), test.want)
		}
		for _, limit := range []string{"1", "3", "100"} {
			q := maps.Clone(test.filters)
			q.Set("limit", limit)
			got := paymentIDs(readAll[payment](m, "/payments", q, nothing))
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", q.Encode(), got, want)
			}
		}
	}
}

func TestAccountsAreListedByTheirIDs(t *testing.T) {
	m := onTwoInstances(t)
	// byte by byte, whatever the locale
	want := []string{"0", "A", "B:b", "Z", "_", "a", "a.b", "alice", "b", "shop", "world"}
	for _, id := range want {
		m.put(id, `{"currency":"USD"}`)
	}
	m.close("b").want(204)
	for _, limit := range []string{"1", "4", "11", "100"} {
		var got []string
		for _, a := range readAll[account](m, "/accounts", url.Values{"limit": {limit}}, nothing) {
			got = append(got, a.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("by %s they are %v", limit, got)
		}
	}
	one, listed := m.get("/accounts/b"), m.get("/accounts")
	if !strings.Contains(string(listed.body), string(one.body)) {
		listed.fail("does not hold %s", one.body)
	}
}

func TestStatementExplainsTheBalance(t *testing.T) {
	m := onTwoInstances(t)
	var paid []string
	for i := range 5 {
		paid = append(paid,
			m.charge(fmt.Sprint("k", i), aliceToShop(int64(100+i))).want(201).paymentID())
	}
	m.charge("declined", aliceToShop(aliceHas)).want(402)
	back := aliceToShop(30).with("source_account", "shop").with("destination_account", "alice")
	paid = append(paid, m.charge("back", back).want(201).paymentID())

	balance := int64(0)
	all := readAll[entry](m, "/accounts/shop/entries", url.Values{"limit": {"2"}}, nothing)
	slices.Reverse(all)
	for i, e := range all {
		amount := int64(100 + i)
		if i == 5 {
			amount = -30
		}
		balance += amount
		var p payment
		m.get("/payments/" + e.PaymentID).decode(&p)
		if want := (entry{int64(i + 1), amount, "USD", balance, paid[i], p.CreatedAt}); e != want {
			t.Errorf("entry %d is %+v, want %+v", i+1, e, want)
		}
	}
	if len(all) != 6 {
		t.Errorf("%d entries", len(all))
	}
	m.wantBalance("shop", balance)
	if first := m.entries("/accounts/shop/entries").Data[0]; first.Sequence != 6 {
		t.Errorf("the first is %+v", first)
	}
	m.put("new", `{"currency":"USD"}`).want(201)
	none := m.get("/accounts/new/entries")
	if string(none.body) != `{"data":[],"next_cursor":null}` {
		none.fail("is not empty")
	}
	m.get("/accounts/missing/entries").wantProblem("not_found")
	m.get("/accounts//entries").wantProblem("not_found")
	m.get("/accounts/-not-an-id/entries").wantProblem("not_found")
}

// While a list is read, page by page, more is added, on both sides of where the reader
// is.
func TestAListIsStableWhileMoreIsAdded(t *testing.T) {
	m := onTwoInstances(t)
	for i := range 30 {
		m.charge(fmt.Sprint("before ", i), aliceToShop(1)).want(201)
		m.put(fmt.Sprintf("account-%02d", i), `{"currency":"USD"}`).want(201)
	}
	payments := m.paymentsStored(`true`)
	entries, accounts := m.entries("/accounts/shop/entries?limit=100").Data,
		m.accounts("?limit=100").Data
	more := 0
	add := func() {
		more++
		answers := atOnce(6, func(i int) *answer {
			return m.chargeOn(m.either(i), fmt.Sprint("meanwhile ", more, " ", i),
				aliceToShop(1).String())
		})
		for _, a := range answers {
			a.want(201)
		}
		m.put(fmt.Sprintf("account-00-%d", more), `{"currency":"USD"}`).want(201)
		m.put(fmt.Sprintf("account-99-%d", more), `{"currency":"USD"}`).want(201)
	}
	for _, q := range []url.Values{
		{"limit": {"4"}}, {"limit": {"4"}, "account": {"alice"}, "status": {"succeeded"}},
	} {
		got := paymentIDs(readAll[payment](m, "/payments", q, add))
		if !slices.Equal(got, payments) {
			if q.Has("account") { // the second reading began with more
				wantOnceEach(t, got, payments)
				continue
			}
			t.Errorf("%s: %v, want %v", q.Encode(), got, payments)
		}
	}
	var sequences, was []int64
	for _, e := range entries {
		was = append(was, e.Sequence)
	}
	for _, e := range readAll[entry](m, "/accounts/shop/entries", url.Values{"limit": {"7"}},
		add) {
		sequences = append(sequences, e.Sequence)
	}
	wantOnceEach(t, sequences, was)
	var ids, were []string
	for _, a := range accounts {
		were = append(were, a.ID)
	}
	for _, a := range readAll[account](m, "/accounts", url.Values{"limit": {"5"}}, add) {
		ids = append(ids, a.ID)
	}
	wantOnceEach(t, ids, were)
}

// wantOnceEach checks that what was there when a list began is in it, and nothing is in
// it twice.
func wantOnceEach[T comparable](t *testing.T, got, there []T) {
	t.Helper()
	times := map[T]int{}
	for _, thing := range got {
		times[thing]++
		if times[thing] == 2 {
			t.Errorf("%v is listed twice", thing)
		}
	}
	for _, thing := range there {
		if times[thing] == 0 {
			t.Errorf("%v is left out", thing)
		}
	}
}

// A filter that few payments meet is looked for in bounded pages. 25,000 payments are
// forged, because charging them would take long.
func TestAPageOfAFilteredListLooksAtABoundedNumberOfPayments(t *testing.T) {
	t.Parallel()
	db := pgtest.NewBroken(t) // what is forged has no keys and no entries
	in := newInstance(t, db.URL)
	m := newMerchant(t, db, in, in)
	needle := m.charge("needle", aliceToShop(1).with("reference", "needle")).want(201).paymentID()
	const more = 25_000
	m.forgeRows(more, `
		INSERT INTO payments (merchant_id, id, status, amount, currency,
			source_account, destination_account, amount_captured,
			reference, description, metadata, idempotency_key, created_at)
		SELECT $1, ('ffffffff-ffff-7fff-8fff-' || lpad(to_hex(n), 12, '0'))::uuid,
			'succeeded', 1, 'USD', 'world', 'shop', 1,
			CASE WHEN n IN (15001, 15000, 5001, 5000) THEN 'edge' END,
			'', '{}', 'forged ' || n, now()
		FROM generate_series(1, $2::int) n`, m.id, more)

	pages, found, cursor := 0, []string(nil), ""
	for {
		pages++
		p := m.payments("?reference=needle&limit=100" + cursor)
		found = append(found, paymentIDs(p.Data)...)
		if p.NextCursor == nil {
			break
		}
		if len(p.Data) > 0 && pages < 3 {
			t.Errorf("page %d looked at more than 10,000 payments", pages)
		}
		cursor = "&cursor=" + *p.NextCursor
	}
	if pages != 3 || !slices.Equal(found, []string{needle}) {
		t.Errorf("%d pages hold %v; want 3 that hold %s", pages, found, needle)
	}
	// The last that one page looks at, and the first of the next.
	edge := url.Values{"reference": {"edge"}}
	if n := len(readAll[payment](m, "/payments", edge, nothing)); n != 4 {
		t.Errorf("%d are found at the edges of pages, want 4", n)
	}
	shop := url.Values{"account": {"shop"}, "limit": {"100"}}
	if n := len(readAll[payment](m, "/payments", shop, nothing)); n != more+1 {
		t.Errorf("%d are listed, want %d", n, more+1)
	}
}

// refundTwice makes the payment's list of refunds one of two.
func (m *merchant) refundTwice(path string) {
	m.t.Helper()
	for i := range 2 {
		m.post(fmt.Sprint("refund ", i, " of ", path), path+"/refunds", `{"amount":1}`).want(201)
	}
}

// A cursor names its merchant and its list.
func TestACursorIsGoodForTheListThatGaveItOutOnly(t *testing.T) {
	m := onTwoInstances(t)
	for i := range 3 {
		m.charge(fmt.Sprint("k", i), aliceToShop(1)).want(201)
		m.charge(fmt.Sprint("r", i), aliceToShop(1).with("reference", fmt.Sprint(i))).want(201)
	}
	lists := []string{
		"/payments?limit=1", "/payments?limit=1&status=succeeded",
		"/payments?limit=1&account=alice", "/payments?limit=1&account=shop",
		"/payments?limit=1&account=alice&status=succeeded",
		"/payments?limit=1&created_after=2026-01-01T00:00:00Z",
		"/payments?limit=1&created_before=9999-01-01T00:00:00Z",
		"/accounts?limit=1", "/accounts/alice/entries?limit=1", "/accounts/shop/entries?limit=1",
	}
	for i := range 2 { // a list for each of two payments
		path := m.charge(fmt.Sprint("refunded ", i), aliceToShop(9)).want(201).location()
		m.refundTwice(path)
		lists = append(lists, path+"/refunds?limit=1")
	}
	stranger := m.another(t)
	cursors := map[string]string{}
	for _, list := range lists {
		p := readPage[any](m.get(list))
		if p.NextCursor == nil {
			t.Fatalf("%s has one page", list)
		}
		cursors[list] = *p.NextCursor
		if strings.Trim(*p.NextCursor,
			"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Errorf("the cursor %s is not base64url", *p.NextCursor)
		}
	}
	made := m.get("/payments?cursor=made-up").wantProblem(malformed)
	for _, list := range lists {
		for giver, cursor := range cursors {
			with := list + "&cursor=" + cursor
			// also where the list's own payment is not the stranger's
			stranger.get(with).wantProblem(malformed)
			if giver == list {
				m.get(with).want(200)
				continue
			}
			if a := m.get(with); a.wantProblem(malformed).withoutIDs() != made.withoutIDs() {
				a.fail("differs from what a made-up one gets: %s", made.body)
			}
		}
	}
	// The number of things on a page is no part of which list it is, nor is the order
	// of the parameters.
	m.get("/payments?cursor=" + cursors["/payments?limit=1"]).want(200)
	both := cursors["/payments?limit=1&account=alice&status=succeeded"]
	m.get("/payments?status=succeeded&cursor=" + both + "&limit=7&account=alice").want(200)
}

// Whatever is made of a cursor, it is refused or it begins somewhere in its own list.
func TestForgedCursorStaysInItsList(t *testing.T) {
	m := onOneInstance(t)
	path := m.charge("k", aliceToShop(9)).want(201).location()
	m.refundTwice(path)
	encoding := base64.RawURLEncoding
	for _, list := range []string{
		"/payments", "/accounts", "/accounts/alice/entries", path + "/refunds",
	} {
		given := *readPage[any](m.get(list + "?limit=1")).NextCursor
		raw, err := encoding.DecodeString(given)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 16 {
			changed := slices.Clone(raw)
			changed[i] ^= 1
			m.get(list + "?cursor=" + encoding.EncodeToString(changed)).wantProblem(malformed)
		}
		for _, text := range []string{
			given + "=", given + "%00", given[:len(given)-1] + "%2F",
			"%20" + given, given[:20],
		} {
			m.get(list + "?cursor=" + text).wantProblem(malformed)
		}
		for _, position := range []string{
			"", "\x00", "a\x00b", "\xff", strings.Repeat("\xff", 8), strings.Repeat("\x00", 8),
			strings.Repeat("\xff", 16),
			strings.Repeat("x", 4000),
		} {
			forged := encoding.EncodeToString(append(slices.Clone(raw[:16]), position...))
			if a := m.get(list + "?cursor=" + forged); a.status != http.StatusOK {
				a.wantProblem(malformed)
			}
		}
	}
}
