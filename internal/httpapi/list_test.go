package httpapi_test

import (
	"context"
	"encoding/base64"
	"fmt"
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
	ID        string
	CreatedAt string `json:"created_at"`
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
	a.want(200).decode(&p)
	return p
}

func (m *merchant) entries(path string) page[entry] {
	m.t.Helper()
	return readPage[entry](m.get(path))
}

// readAll follows a list's cursors from its first page to its end. After each page it
// calls between.
func readAll[T any](m *merchant, path string, between func()) (all []T) {
	m.t.Helper()
	next := path
	for range 1000 {
		p := readPage[T](m.get(next))
		all = append(all, p.Data...)
		if p.NextCursor == nil {
			return all
		}
		next = path + "&cursor=" + *p.NextCursor
		between()
	}
	m.t.Fatalf("%s has no end", path)
	return nil
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
func (m *merchant) paymentsStored(condition string) (ids []string) {
	m.t.Helper()
	rows, err := m.db.Pool.Query(context.Background(), `
		SELECT 'pay_' || replace(id::text, '-', '')
		FROM payments
		WHERE merchant_id = $1 AND `+condition+`
		ORDER BY id DESC`, m.id)
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

// A page has 20 payments, unless the caller asks for another number.
func TestPaymentsAreListedNewestFirstByTheirFilters(t *testing.T) {
	m := onTwoInstances(t)
	m.put("bob", `{"currency":"USD"}`).want(201)
	for i := range 7 {
		order := aliceToShop(1).with("reference", fmt.Sprint("order ", i, " ü+&"))
		m.charge(fmt.Sprint("shop", i), order).want(201)
		m.charge(fmt.Sprint("bob", i), aliceToShop(1).with("destination_account", "bob")).want(201)
		tooDear := aliceToShop(aliceHas).with("reference", "too dear")
		m.charge(fmt.Sprint("declined", i), tooDear).want(402)
	}
	var third time.Time
	if err := m.db.Pool.QueryRow(t.Context(), `
		SELECT (array_agg(created_at ORDER BY id))[3]
		FROM payments WHERE merchant_id = $1`, m.id).Scan(&third); err != nil {
		t.Fatal(err)
	}
	at := func(t time.Time) string { return url.QueryEscape(t.Format(time.RFC3339Nano)) }
	first, later := at(third.UTC()), at(third.UTC().Add(time.Nanosecond))
	elsewhere := at(third.In(time.FixedZone("", -5400)))
	moment := `'` + third.UTC().Format(time.RFC3339Nano) + `'`
	for _, test := range []struct {
		filters, condition string
		want               int // no condition is met by nothing unnoticed
	}{
		{"", `true`, 23}, // two brought alice's money
		{"status=declined", `status = 'declined'`, 7},
		{"status=processing", `false`, 0},
		{"reference=order+3+%C3%BC%2B%26", `reference = 'order 3 ü+&'`, 1},
		{"reference=TOO+DEAR", `false`, 0},
		{"account=bob", `destination_account = 'bob'`, 7},
		{"account=alice", `'alice' IN (source_account, destination_account)`, 23},
		{"account=nobody", `false`, 0},
		{"created_after=" + first, `created_at >= ` + moment, 21},
		{"created_after=" + elsewhere, `created_at >= ` + moment, 21},
		{"created_after=" + later, `created_at > ` + moment, 20},
		{"created_before=" + first, `created_at < ` + moment, 2},
		{"created_before=" + later, `created_at <= ` + moment, 3},
		{"created_before=0001-01-01T00:00:00Z", `false`, 0},
		{"created_before=9999-12-31T23:59:59.999999999Z", `true`, 23},
		{
			"status=declined&account=shop&reference=too+dear&created_after=" + first,
			`status = 'declined' AND created_at >= ` + moment, 7,
		},
		{"status=declined&account=bob", `false`, 0},
		{"idempotency_key=bob2&account=bob&status=succeeded", `idempotency_key = 'bob2'`, 1},
		{"idempotency_key=bob2&account=shop", `false`, 0},
		{"idempotency_key=bob2&created_before=" + first, `false`, 0},
	} {
		want := m.paymentsStored(test.condition)
		if len(want) != test.want {
			t.Fatalf("%s is met by %d, and not by %d", test.condition, len(want), test.want)
		}
		for _, limit := range []int{1, 3, 22, 23, 100} {
			path := fmt.Sprint("/payments?limit=", limit, "&", test.filters)
			if got := paymentIDs(readAll[payment](m, path, nothing)); !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", path, got, want)
			}
		}
	}
	listed := m.get("/payments")
	if page := readPage[payment](listed); len(page.Data) != 20 || page.NextCursor == nil {
		t.Errorf("the first page by default has %d payments", len(page.Data))
	}
	one := m.get("/payments/" + m.paymentsStored(`true`)[3])
	if !strings.Contains(string(listed.body), string(one.body)) {
		listed.fail("does not hold %s", one.body)
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
	for _, list := range []string{"/accounts?limit=1", "/accounts?limit=4", "/accounts?limit=11"} {
		var got []string
		for _, a := range readAll[account](m, list, nothing) {
			got = append(got, a.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: they are %v", list, got)
		}
	}
	one, listed := m.get("/accounts/b"), m.get("/accounts")
	if !strings.Contains(string(listed.body), string(one.body)) {
		listed.fail("does not hold %s", one.body)
	}
}

// Each entry has the balance that the account had at that time.
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
	at := func(moment string) *answer { return m.get("/accounts/shop?at=" + moment) }
	all := readAll[entry](m, "/accounts/shop/entries?limit=2", nothing)
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
		then := fmt.Sprintf(`"currency":"USD","balance":%d,"at":%q}`, balance, e.At)
		if was := at(e.At).want(200); !strings.HasSuffix(string(was.body), then) {
			was.fail("is not the balance with that entry: %s", then)
		}
	}
	if len(all) != 6 {
		t.Errorf("%d entries", len(all))
	}
	m.wantBalance("shop", balance)
	before := at("2001-01-01T00:00:00Z").want(200)
	if !strings.Contains(string(before.body), `"balance":0`) {
		before.fail("is not the balance before the first entry")
	}
	at("2999-01-01T00:00:00Z").wantProblem("unprocessable")
	m.get("/accounts/missing?at=2001-01-01T00:00:00Z").wantProblem("not_found")
	m.get("/accounts/missing/entries").wantProblem("not_found")
	m.get("/accounts//entries").wantProblem("not_found")
	m.get("/accounts/-not-an-id/entries").wantProblem("not_found")
}

// While a list is read, page by page, more is added, on both sides of the reader's
// place. What was there is listed once, newest first.
func TestAListIsStableWhileMoreIsAdded(t *testing.T) {
	m := onTwoInstances(t)
	path := m.charge("refunded", aliceToShop(1000)).want(201).location()
	more := 0
	add := func() {
		more++
		for i := range 3 {
			m.charge(fmt.Sprint(more, " ", i), aliceToShop(1)).want(201)
			m.put(fmt.Sprintf("account-%d%d", i, more+10), `{"currency":"USD"}`).want(201)
			m.post(fmt.Sprint("r", more, " ", i), path+"/refunds", `{"amount":1}`).want(201)
		}
	}
	for range 3 {
		add()
	}
	ids := func(things []map[string]any) (ids []string) {
		for _, thing := range things {
			ids = append(ids, fmt.Sprint(thing["id"], thing["sequence"]))
		}
		return ids
	}
	for _, list := range []string{
		"/payments?", "/payments?account=alice&status=succeeded&", "/accounts/shop/entries?",
		path + "/refunds?", "/accounts?",
	} {
		there := ids(readPage[map[string]any](m.get(list + "limit=100")).Data)
		got := ids(readAll[map[string]any](m, list+"limit=7", add))
		if list == "/accounts?" { // in the order of their ids, so new ones are between them
			isNew := func(id string) bool { return !slices.Contains(there, id) }
			got = slices.DeleteFunc(got, isNew)
		}
		if !slices.Equal(got, there) {
			t.Errorf("%s: %v, want %v", list, got, there)
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
	m.forge(more, `
		INSERT INTO payments (merchant_id, id, status, amount, currency,
			source_account, destination_account, amount_captured,
			reference, description, metadata, idempotency_key, created_at)
		SELECT $1, ('ffffffff-ffff-7fff-8fff-' || lpad(to_hex(n), 12, '0'))::uuid,
			'succeeded', 1, 'USD', 'world', 'shop', 1,
			CASE WHEN n IN (15001, 15000, 5001, 5000) THEN 'edge' END,
			'', '{}', 'forged ' || n, now()
		FROM generate_series(1, $2::int) n`, m.id, more)

	pages := 1
	found := readAll[payment](m, "/payments?reference=needle&limit=100", func() { pages++ })
	if ids := paymentIDs(found); pages != 3 || !slices.Equal(ids, []string{needle}) {
		t.Errorf("%d pages hold %v; want 3 that hold %s", pages, ids, needle)
	}
	// The last that one page looks at, and the first of the next.
	if n := len(readAll[payment](m, "/payments?reference=edge", nothing)); n != 4 {
		t.Errorf("%d are found at the edges of pages, want 4", n)
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
		"/payments?limit=1&account=alice&status=succeeded",
		"/payments?limit=1&created_before=9999-01-01T00:00:00Z", "/accounts?limit=1",
		"/accounts/alice/entries?limit=1", "/accounts/shop/entries?limit=1",
		"/events?limit=1", "/events?limit=1&type=payment.succeeded",
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
	// The page size and the order of the parameters are no part of the list's name.
	m.get("/payments?cursor=" + cursors["/payments?limit=1"]).want(200)
	both := cursors["/payments?limit=1&account=alice&status=succeeded"]
	m.get("/payments?status=succeeded&cursor=" + both + "&limit=7&account=alice").want(200)
}

// A changed cursor is refused, or it begins somewhere in its own list.
func TestForgedCursorStaysInItsList(t *testing.T) {
	m := onOneInstance(t)
	path := m.charge("k", aliceToShop(9)).want(201).location()
	m.refundTwice(path)
	encoding := base64.RawURLEncoding
	for _, list := range []string{
		"/payments", "/accounts", "/accounts/alice/entries", path + "/refunds", "/events",
	} {
		given := *readPage[any](m.get(list + "?limit=1")).NextCursor
		raw, err := encoding.DecodeString(given)
		if err != nil {
			t.Fatal(err)
		}
		changed := slices.Clone(raw)
		changed[15] ^= 1 // the last byte of its binding
		for _, text := range []string{
			encoding.EncodeToString(changed), given + "=", given + "%00", "%20" + given,
			given[:20],
		} {
			m.get(list + "?cursor=" + text).wantProblem(malformed)
		}
		for _, position := range []string{
			"", "a\x00b", "\xff", strings.Repeat("\xff", 8), strings.Repeat("\xff", 16),
		} {
			forged := encoding.EncodeToString(append(slices.Clone(raw[:16]), position...))
			if a := m.get(list + "?cursor=" + forged); a.status != http.StatusOK {
				a.wantProblem(malformed)
			}
		}
	}
}
