package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// paymentView is a payment as a caller reads it.
type paymentView struct {
	ID, Status, Description string
	Amount, Version         int64
	AmountCaptured          int64  `json:"amount_captured"`
	AmountRefunded          int64  `json:"amount_refunded"`
	DeclineCode             string `json:"decline_code"`
	CancellationReason      string `json:"cancellation_reason"`
	Metadata                map[string]string
}

func (a *answer) payment() (p paymentView) {
	a.t.Helper()
	a.decode(&p)
	return p
}

// authorize holds money of alice for the shop, and returns the payment's path.
func (m *merchant) authorize(key string, cents int64) (path string) {
	m.t.Helper()
	return m.charge(key, aliceToShop(cents).with("capture", false)).want(201).location()
}

// wantHeld checks what alice has, and what of it is held.
func (m *merchant) wantHeld(balance, held int64) {
	m.t.Helper()
	var got struct{ Balance, Held, Available int64 }
	m.get("/accounts/alice").decode(&got)
	if got.Balance != balance || got.Held != held || got.Available != balance-held {
		m.t.Errorf("alice has %+v; want %d, of which %d are held", got, balance, held)
	}
}

// An empty body is none, also if it comes in chunks.
func TestAChangeNeedsNoBody(t *testing.T) {
	m := onTwoInstances(t)
	path := m.authorize("hold", 100) + "/capture"
	captured := m.converse(m.first, "POST "+path+" HTTP/1.1\r\nHost: service\r\n"+
		"Connection: close\r\nAuthorization: Bearer "+m.apiKey+
		"\r\nIdempotency-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	if first := m.post("k", path, ""); !first.replayed() ||
		!strings.Contains(captured, string(first.body)) {
		first.fail("is not the answer to the empty chunks: %s", captured)
	}
	m.wantHeld(aliceHas-100, 0)
}

// A replay has the bytes of the first answer, with the end of the hold in it.
func TestAuthorizationShowsItsEnd(t *testing.T) {
	t.Parallel()
	const lifetime = time.Hour
	db := pgtest.New(t)
	in := newInstanceWith(t, db.URL, settings{lifetime: lifetime})
	m := newMerchant(t, db, in, in)
	hold := aliceToShop(5).with("capture", false)
	held := m.charge("hold", hold).want(201)
	var times struct {
		CreatedAt       time.Time `json:"created_at"`
		AuthorizedUntil time.Time `json:"authorized_until"`
	}
	held.decode(&times)
	if !times.AuthorizedUntil.Equal(times.CreatedAt.Add(lifetime)) {
		held.fail("does not end after %v", lifetime)
	}
	if now := m.get(held.location()).want(200); string(now.body) != string(held.body) {
		now.fail("differs from %s", held.body)
	}
	canceled := m.post("cancel", held.location()+"/cancel", "").want(200)
	if canceled.payment().CancellationReason != "requested" ||
		strings.Contains(string(canceled.body), "authorized_until") {
		canceled.fail("is still held, or has the wrong reason")
	}
	m.retry("hold", hold).wantReplayOf(held)
}

func TestEditNeedsTheCurrentVersion(t *testing.T) {
	m := onTwoInstances(t)
	noted := aliceToShop(1).with("metadata", map[string]string{"a": "1", "b": "2"})
	path := m.charge("k", noted).want(201).location()
	tag := m.get(path).header.Get("ETag")
	m.send(m.first, call{method: "PATCH", path: path, body: "{}"}).
		wantProblem("precondition_required")
	const gift = `{"description":"a gift","metadata":{"a":null,"c":"3"}}`
	edited := m.patch(path, tag, gift).want(200)
	p := edited.payment()
	if p.Description != "a gift" || fmt.Sprint(p.Metadata) != "map[b:2 c:3]" || p.Version != 2 ||
		edited.header.Get("ETag") != `"2"` {
		edited.fail("is not what was patched")
	}
	m.patch(path, tag, `{"description":"mine"}`).wantProblem("precondition_failed")
	m.patch(path, `"2"`, `{"description":"a gift"}`).want(200) // it is already
	p = m.patch(path, `"2"`, `{"description":null,"metadata":null}`).want(200).payment()
	if p.Description != "" || len(p.Metadata) != 0 || p.Version != 3 {
		t.Errorf("it is %+v", p)
	}
	m.patch(path, `"3"`, `{"metadata":{"card":"4242424242424242"}}`).wantProblem(refused)
	m.post("refund", path+"/refunds", "").want(201) // moves the version too
	m.patch(path, `"3"`, `{"description":"late"}`).wantProblem("precondition_failed")
}

// RFC 5789, section 3.1.
func TestPatchOfAnotherTypeNamesTheTypes(t *testing.T) {
	m := onOneInstance(t)
	path := m.charge("k", aliceToShop(1)).want(201).location()
	edit := call{method: "PATCH", path: path, body: `{"description":"x"}`}
	for _, header := range []http.Header{
		{"Content-Type": {"application/json-patch+json"}},
		{"Content-Type": nil},
		{"Content-Encoding": {"gzip"}},
	} {
		header.Set("If-Match", `"1"`)
		told := m.send(m.first, edit.with(header)).wantProblem("unsupported_media_type")
		const both = "application/merge-patch+json, application/json"
		if got := told.header.Get("Accept-Patch"); got != both {
			told.fail("has the Accept-Patch %q", got)
		}
	}
	merge := http.Header{"If-Match": {`"1"`}, "Content-Type": {"application/merge-patch+json"}}
	if other := m.post("r", path+"/refunds", "[]"); other.header["Accept-Patch"] != nil {
		other.fail("has an Accept-Patch, and is no edit")
	}
	m.send(m.first, edit.with(merge)).want(200)
}

// The limit counts the pairs after the edit.
func TestAnEditKeepsMetadataWithinItsLimit(t *testing.T) {
	m := onOneInstance(t)
	pairs := map[string]string{}
	for i := range 50 {
		pairs[fmt.Sprint("pair ", i)] = "as it was"
	}
	path := m.charge("k", aliceToShop(1).with("metadata", pairs)).want(201).location()
	m.patch(path, `"1"`, `{"metadata":{"pair 50":"one more"}}`).wantProblem(refused)
	p := m.patch(path, `"1"`,
		`{"metadata":{"pair 0":null,"pair 50":"instead of it"}}`).want(200).payment()
	if _, there := p.Metadata["pair 0"]; there || len(p.Metadata) != 50 ||
		p.Metadata["pair 50"] != "instead of it" || p.Version != 2 {
		t.Errorf("it is %+v", p)
	}
}

// RFC 9110, section 13.1.1: "*" is whatever version there is. Each patch is of what the
// one before it has left.
func TestManyEditsOfAnyVersionAreAllMade(t *testing.T) {
	m := onTwoInstances(t)
	path := m.charge("k", aliceToShop(1)).want(201).location()
	m.patch("/payments/pay_01a20ad267df7b68adb4d622d79eec28", "*", "{}").wantProblem("not_found")
	const edits = 20
	for _, a := range atOnce(edits, func(i int) *answer {
		return m.send(m.either(i), call{
			method: "PATCH", path: path, header: http.Header{"If-Match": {"*"}},
			body: fmt.Sprintf(`{"description":"%d","metadata":{"%d":"was here"}}`, i, i),
		})
	}) {
		a.want(200)
	}
	if p := m.get(path).payment(); len(p.Metadata) != edits || p.Description == "" ||
		p.Version != 1+edits {
		t.Errorf("after %d edits it is %+v", edits, p)
	}
}
