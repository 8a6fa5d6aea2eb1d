package conformance

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// aliceHas is what alice can pay: her overdraft.
const aliceHas = 10_000

// patience is for one answer. The service's own limit is shorter.
const patience = 60 * time.Second

// service is what a caller speaks to.
type service struct {
	first, other        string // addresses of its instances; equal if one is known
	apiKey, otherAPIKey string
	control
}

// alone is the service without its second instance.
func (s service) alone() service {
	s.other = s.first
	return s
}

// caller is a merchant's client with two accounts and keys of its own.
type caller struct {
	t *testing.T
	service
	id          string // in the name of whatever it makes
	alice, shop string // accounts
	client      *http.Client
}

func newCaller(t *testing.T, s service) *caller {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	t.Cleanup(transport.CloseIdleConnections)
	c := &caller{t: t, service: s, client: &http.Client{Transport: transport, Timeout: patience}}
	return c.another()
}

// another is a caller like c with accounts and keys of its own.
func (c *caller) another() *caller {
	c.t.Helper()
	n := *c
	n.id = strings.ToLower(rand.Text()[:16])
	n.alice, n.shop = "alice-"+n.id, "shop-"+n.id
	n.putAccount(n.alice, fmt.Sprintf(`{"currency":"USD","overdraft_limit":%d}`, aliceHas))
	n.putAccount(n.shop, `{"currency":"USD"}`)
	return &n
}

// run runs a subtest with the accounts and keys of c.
func (c *caller) run(name string, test func(*caller)) {
	c.t.Run(name, func(t *testing.T) {
		n := *c
		n.t = t
		test(&n)
	})
}

// runAnew runs a subtest with accounts and keys of its own.
func (c *caller) runAnew(name string, test func(*caller)) {
	c.run(name, func(c *caller) { test(c.another()) })
}

// otherMerchant is the other merchant's caller.
func (c *caller) otherMerchant() *caller {
	n := *c
	n.apiKey = c.otherAPIKey
	return n.another()
}

// key is a key that is c's alone.
func (c *caller) key(name string) string { return name + " " + c.id }

// spell makes a spelling of a key c's alone: by a prefix, which stands inside the
// quotes if there are any.
func (c *caller) spell(key string) string {
	bare := strings.TrimLeft(key, " \t")
	before := key[:len(key)-len(bare)]
	if rest, quoted := strings.CutPrefix(bare, `"`); quoted {
		return before + `"` + c.id + rest
	}
	return before + c.id + bare
}

// body is that of a request.
type body map[string]any

// order is a charge of alice for the shop.
func (c *caller) order(amount int64) body {
	return body{
		"amount": amount, "currency": "USD", "source_account": c.alice,
		"destination_account": c.shop,
	}
}

// heldOrder is an order that hold stops before it has more than its key.
func (c *caller) heldOrder(amount int64) body {
	if c.heldReference == "" {
		return c.order(amount) // its account is held
	}
	return c.order(amount).with("reference", c.heldReference)
}

// with is the body with another value for a member.
func (b body) with(member string, value any) body {
	b = maps.Clone(b)
	b[member] = value
	return b
}

func (b body) String() string {
	text, err := json.Marshal(b)
	if err != nil {
		panic(err) // texts and numbers
	}
	return string(text)
}

// request is what send sends.
type request struct {
	method, path, body string
	keys               []string    // as many headers
	header             http.Header // others; a nil value takes a header away
}

// post is a POST under a key. Without a body it has no Content-Type.
func post(path, body, key string) request {
	return request{method: "POST", path: path, body: body, keys: []string{key}}
}

// charging is the charge of an order under a key.
func charging(order body, key string) request { return post("/payments", order.String(), key) }

func (c *caller) charge(at string, b body, keys ...string) *answer {
	c.t.Helper()
	return c.chargeText(at, b.String(), keys...)
}

func (c *caller) chargeText(at, text string, keys ...string) *answer {
	c.t.Helper()
	return c.send(at, request{method: "POST", path: "/payments", body: text, keys: keys})
}

// authorize holds money of alice for the shop, and returns the payment's path.
func (c *caller) authorize(amount int64, key string) (path string) {
	c.t.Helper()
	return c.charge(c.first, c.order(amount).with("capture", false), key).want(201).location()
}

func (c *caller) post(at, path, body, key string) *answer {
	c.t.Helper()
	return c.send(at, post(path, body, key))
}

func (c *caller) get(at, path string) *answer {
	c.t.Helper()
	return c.send(at, request{method: "GET", path: path})
}

func (c *caller) putAccount(id, terms string, keys ...string) {
	c.t.Helper()
	a := c.send(c.first, request{method: "PUT", path: "/accounts/" + id, body: terms, keys: keys})
	if a.status != http.StatusCreated {
		a.want(200)
	}
}

// send sends a request once. It may be called on any goroutine.
func (c *caller) send(at string, r request) *answer {
	c.t.Helper()
	a := &answer{t: c.t, what: r.method + " " + r.path}
	req, err := http.NewRequest(r.method, at+r.path, strings.NewReader(r.body))
	if err != nil {
		c.t.Error(err)
		return a
	}
	// Go's client sends a request again by itself when its connection breaks, if it has
	// an Idempotency-Key and its body can be had again. This one cannot.
	req.GetBody = nil
	if c.apiKey != "" {
		req.Header.Set("Authorization", "Bearer "+c.apiKey)
	}
	if r.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	maps.Copy(req.Header, r.header)
	if r.keys != nil {
		req.Header["Idempotency-Key"], a.key = r.keys, r.keys[0]
	}
	res, err := c.client.Do(req)
	if err != nil {
		c.t.Errorf("%s: %v", a.what, err)
		return a
	}
	return a.read(res)
}

// crowd sends n requests at once, by turns to both instances, and returns their answers
// in the same order.
func (c *caller) crowd(n int, nth func(i int) request) []*answer {
	c.t.Helper()
	answers, start := make([]*answer, n), make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		at, r := []string{c.first, c.other}[i%2], nth(i)
		all.Go(func() {
			<-start
			answers[i] = c.send(at, r)
		})
	}
	close(start)
	all.Wait()
	return answers
}

// raw sends a charge on a connection of its own, which it returns.
func (c *caller) raw(at string, order body, key string) net.Conn {
	c.t.Helper()
	return c.rawPart(at, order.String(), len(order.String()), key)
}

// rawPart sends a charge whose body has an announced length, and may be shorter.
func (c *caller) rawPart(at, body string, announced int, key string) net.Conn {
	c.t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		c.t.Fatal(err)
	}
	var conn net.Conn
	if u.Scheme == "https" {
		conn, err = tls.Dial("tcp", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "443")), nil)
	} else {
		conn, err = net.Dial("tcp", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80")))
	}
	if err != nil {
		c.t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "POST %s/payments HTTP/1.1\r\nHost: %s\r\n"+
		"Authorization: Bearer %s\r\nIdempotency-Key: %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		u.Path, u.Host, c.apiKey, key, announced, body); err != nil {
		c.t.Fatal(err)
	}
	return conn
}

// readHead reads the head of the answer to a raw charge.
func (c *caller) readHead(conn net.Conn) *http.Response {
	c.t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		c.t.Fatalf("reading an answer: %v", err)
	}
	return res
}

// readRaw reads the answer to a raw charge, and ends its connection.
func (c *caller) readRaw(conn net.Conn) *answer {
	c.t.Helper()
	defer conn.Close()
	return (&answer{t: c.t, what: "POST /payments"}).read(c.readHead(conn))
}

// hangUp ends a connection without a farewell.
func hangUp(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

// wantMoved checks what alice has paid the shop, by both balances, at both instances.
func (c *caller) wantMoved(amount int64) {
	c.t.Helper()
	c.wantBalance(c.shop, amount)
	c.wantBalance(c.alice, -amount)
}

func (c *caller) wantBalance(id string, balance int64) {
	c.t.Helper()
	for _, at := range []string{c.first, c.other} {
		account := c.get(at, "/accounts/"+id).want(200)
		var got struct{ Balance *int64 }
		if err := json.Unmarshal(account.body, &got); err != nil || got.Balance == nil ||
			*got.Balance != balance {
			account.fail("should have the balance %d", balance)
		}
	}
}

// answer is what came back.
type answer struct {
	t      *testing.T
	what   string // was asked
	key    string // under which it was asked, as it was sent
	status int    // 0: nothing came back
	header http.Header
	body   []byte
}

// retryOf is what the contract says about the key where it does not say same_key.
var retryOf = map[string]string{
	"insufficient_funds": "new_key", "idempotency_key_reused": "never",
	"duplicate_reference": "never",
}

// read takes the answer from the wire. Every refusal is a problem document (RFC 9457)
// that tells what to do with the key.
func (a *answer) read(res *http.Response) *answer {
	a.t.Helper()
	defer res.Body.Close()
	var err error
	a.status, a.header = res.StatusCode, res.Header
	if a.body, err = io.ReadAll(res.Body); err != nil {
		a.fail("was cut short: %v", err)
	}
	if res.ContentLength < 0 && !res.Uncompressed {
		a.fail("has no Content-Length, so its reader may take a part for the whole")
	}
	if a.status < http.StatusBadRequest {
		return a
	}
	retry := retryOf[a.member("code")]
	if retry == "" {
		retry = "same_key"
	}
	if a.header.Get("Content-Type") != "application/problem+json" || a.member("code") == "" ||
		a.member("retry") != retry {
		a.fail("is no problem document whose retry is %s", retry)
	}
	return a
}

func (a *answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// fail reports an answer and goes on: it may be called on any goroutine.
func (a *answer) fail(format string, args ...any) {
	a.t.Helper()
	a.t.Errorf("the answer to %s under %q %s: %v", a.what, a.key, fmt.Sprintf(format, args...), a)
}

func (a *answer) location() string { return a.header.Get("Location") }

func (a *answer) replayed() bool { return a.header.Get("Idempotent-Replayed") == "true" }

// member is a text of the answer; "" if it has none by that name.
func (a *answer) member(name string) string {
	var members map[string]any
	if json.Unmarshal(a.body, &members) != nil {
		return ""
	}
	text, _ := members[name].(string)
	return text
}

// paymentID is the payment that the answer is, or is about.
func (a *answer) paymentID() string { return cmp.Or(a.member("payment_id"), a.member("id")) }

// want ends the test unless the answer has the status.
func (a *answer) want(status int) *answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s under %q: %v; want %d", a.what, a.key, a, status)
	}
	return a
}

// wantProblem ends the test unless the answer is that problem.
func (a *answer) wantProblem(status int, code string) *answer {
	a.t.Helper()
	if a.status != status || a.member("code") != code {
		a.t.Fatalf("%s under %q: %v; want %d %s", a.what, a.key, a, status, code)
	}
	return a
}

// wantAbout checks that the answer names the payment of another answer.
func (a *answer) wantAbout(other *answer) {
	a.t.Helper()
	if a.paymentID() != other.paymentID() {
		a.fail("does not name the payment %s", other.paymentID())
	}
}

// wantReused ends the test unless the answer says that its key belongs to another
// request, whose answer is the first.
func (a *answer) wantReused(first *answer) {
	a.t.Helper()
	a.wantProblem(422, "idempotency_key_reused").wantFresh().wantAbout(first)
}

// wantStatus checks in which status a payment or a refund is said to be.
func (a *answer) wantStatus(status string) *answer {
	a.t.Helper()
	if a.member("status") != status {
		a.fail("is not %s", status)
	}
	return a
}

// wantFresh checks that the answer was made for this very request.
func (a *answer) wantFresh() *answer {
	a.t.Helper()
	if a.replayed() {
		a.fail("is a replay")
	}
	return a
}

// wantReplayOf checks that the answer is the first one once more: its status, its
// bytes, its Location.
func (a *answer) wantReplayOf(first *answer) {
	a.t.Helper()
	switch {
	case !a.replayed():
		a.fail("is no replay of %v", first)
	case a.status != first.status, !bytes.Equal(a.body, first.body),
		a.location() != first.location(),
		a.header.Get("Content-Type") != first.header.Get("Content-Type"):
		a.fail("(%v) is another than %v (%v)", a.header, first, first.header)
	}
}

// wantSameJSON checks that two answers have the same members, whatever their order.
func (a *answer) wantSameJSON(other *answer) {
	a.t.Helper()
	var one, two any
	if json.Unmarshal(a.body, &one) != nil || json.Unmarshal(other.body, &two) != nil ||
		!reflect.DeepEqual(one, two) {
		a.fail("is not the same as %v", other)
	}
}

// wantOneExecution checks the answers to one request that was sent many times at once:
// one was executed, and the others replay it. It returns that one's.
func wantOneExecution(answers []*answer) *answer {
	t := answers[0].t
	t.Helper()
	var fresh []*answer
	for _, a := range answers {
		if !a.replayed() {
			fresh = append(fresh, a)
		}
	}
	if len(fresh) != 1 {
		t.Fatalf("%d of %d answers are no replays, want 1: %v", len(fresh), len(answers), fresh)
	}
	for _, a := range answers {
		if a != fresh[0] {
			a.wantReplayOf(fresh[0])
		}
	}
	return fresh[0]
}
