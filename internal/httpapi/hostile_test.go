package httpapi_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// No HTTP client sends these bytes. They go over a socket to the server of cmd/paymentsvc.

// converse sends text over a new connection, and returns all that is received until the
// service closes it. It ends the test if the connection stays open.
func (m *merchant) converse(in *instance, text string) (received string) {
	m.t.Helper()
	conn := m.connect(in)
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		m.t.Fatal(err)
	}
	if _, err := conn.Write([]byte(text)); err != nil && !isCut(err) {
		m.t.Fatal(err)
	}
	all, err := io.ReadAll(conn)
	if err != nil && !isCut(err) {
		m.t.Fatalf("the connection stays open after %.200q", all)
	}
	return string(all)
}

// speak is converse for one request, and returns its answer.
func (m *merchant) speak(in *instance, text string) *answer {
	m.t.Helper()
	received := m.converse(in, text)
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(received)), nil)
	if err != nil {
		m.t.Fatalf("%.100q is no answer: %v", received, err)
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		m.t.Errorf("reading the answer: %v", err)
	}
	return &answer{
		t: m.t, what: fmt.Sprintf("%.100q", text), status: res.StatusCode,
		header: res.Header, body: content,
	}
}

// isCut tells whether the other side has ended the connection.
func isCut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE)
}

// software is what an answer must not say about what has made it.
var software = regexp.MustCompile(`(?i)\bgo\d|golang|net/http|chi\b|server:|x-powered-by|` +
	internals.String())

// plain checks an answer that net/http itself gives: it names the mistake and nothing
// else.
func (a *answer) plain() {
	a.t.Helper()
	if !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") || len(a.body) > 100 {
		a.fail("is not one of net/http's")
	}
	a.silentAboutSoftware()
}

func (a *answer) silentAboutSoftware() {
	a.t.Helper()
	var header bytes.Buffer
	if err := a.header.Write(&header); err != nil {
		a.t.Fatal(err)
	}
	if said := software.FindString(header.String() + string(a.body)); said != "" {
		a.fail("says %q about the software", said)
	}
}

var statusLine = regexp.MustCompile(`HTTP/1\.[01] (\d+) `)

// net/http decides where a request ends. Each text hides a second request where a proxy
// that finds another end would not see it. Where the text breaks RFC 9112, net/http
// answers an error and closes the connection, so that nothing behind the error is read.
func TestOneReadingOfAmbiguousRequests(t *testing.T) {
	m := onOneInstance(t)
	in := m.first
	charge := func(key, body string, framing ...string) string {
		return "POST /payments HTTP/1.1\r\nHost: service\r\nAuthorization: Bearer " + m.apiKey +
			"\r\nContent-Type: application/json\r\nIdempotency-Key: " + key + "\r\n" +
			strings.Join(framing, "\r\n") + "\r\n\r\n" + body
	}
	inChunks := func(body string) string {
		return fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	}
	length := func(bodies ...string) string {
		return fmt.Sprintf("Content-Length: %d", len(strings.Join(bodies, "")))
	}
	const (
		chunked = "Transfer-Encoding: chunked"
		last    = "GET /livez HTTP/1.1\r\nHost: service\r\nConnection: close\r\n\r\n"
	)
	text := aliceToShop(1).String()
	chunks := inChunks(text)
	hidden := charge("hidden", text, length(text))
	first := func(body string, framing ...string) string { return charge("k", body, framing...) }
	for _, row := range []struct {
		name, text string
		statuses   string // of all answers; 200 is that of the last request
	}{
		// With both, the chunks count, as RFC 9112, section 6.3, says.
		{"behind the chunks", first(chunks, length(chunks, hidden), chunked) + hidden, "201"},
		{"a short length and chunks", first(chunks, length("short"), chunked), "201"},
		{"both in HTTP/1.0", strings.Replace(first(chunks, length(text), chunked),
			"1.1", "1.0\r\nConnection: keep-alive", 1) + hidden, "400 400"},
		{"two lengths", first(text, length(text), length(text, hidden)) + hidden, "400"},
		{"one length twice", first(text, length(text), length(text)), "201 200"},
		{"a list of lengths", first(text, length(text)+", 0") + hidden, "400"},
		{"a signed length", first(text, "Content-Length: +0") + hidden, "400"},
		// A folded line belongs to the field before it (section 5.2).
		{"a folded zero length", first(text, "X: y\r\n "+length(), length(text)), "201 200"},
		{"a folded coding", first(chunks, "Transfer-Encoding:\r\n chunked"), "201"},
		{"an unknown coding", first(chunks, "Transfer-Encoding: xchunked") + hidden, "501"},
		{"a space before the colon", first("", "Transfer-Encoding : chunked") + hidden, "400"},
		{"a short chunk", first("5\r\n"+text+"\r\n0\r\n\r\n", chunked) + hidden, "400"},
	} {
		t.Run(row.name, func(t *testing.T) {
			received := m.in(t).converse(in, row.text+last)
			var statuses []string
			for _, line := range statusLine.FindAllStringSubmatch(received, -1) {
				statuses = append(statuses, line[1])
			}
			if got := strings.Join(statuses, " "); got != row.statuses {
				t.Errorf("the answers are %s, want %s", got, row.statuses)
			}
		})
	}
}

func TestALargeHeadIsRefused(t *testing.T) {
	m := onOneInstance(t)
	in, text := m.first, aliceToShop(1).String()
	charge := func(path string, lines ...string) string {
		lines = append(lines, "Idempotency-Key: k")
		return strings.Replace(m.headOfCharge(len(text), lines...)+text, "/payments", path, 1)
	}
	large := strings.Repeat("x", 64<<10)
	for name, request := range map[string]string{
		"one field":   charge("/payments", "X: "+large),
		"a name":      charge("/payments", large+": y"),
		"many fields": charge("/payments", strings.Repeat("X: y\r\n", 10_000)+"X: y"),
		"a path":      charge("/" + large),
		"no end":      "GET /livez HTTP/1.1\r\nX: " + large,
	} {
		t.Run(name, func(t *testing.T) {
			m.in(t).speak(in, request).want(431).plain()
		})
	}
	m.wantPayments(0)
	m.speak(in, charge("/payments", "X: "+large[:24<<10])).want(201)
	// An expectation that net/http does not know is the only thing of a readable request
	// that it refuses itself.
	got := m.speak(in, charge("/payments", "Expect: a miracle")).want(417)
	got.silentAboutSoftware()
	if len(got.body) > 0 {
		// the spec's introduction says what is answered without a problem document
		got.fail("has a body")
	}
	m.wantPayments(1)
}

// The service trusts no proxy: a forged field changes no answer. No problem document names the
// software behind it.
func TestForgedFieldsOfProxiesChangeNothing(t *testing.T) {
	m := onOneInstance(t)
	forged := http.Header{
		"Forwarded":         {`for=127.0.0.1;host=evil.example;proto=https`},
		"X-Forwarded-Proto": {"https"}, "X-Merchant-Id": {"1"}, "Via": {"1.1 evil.example"},
		"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"evil.example"},
		"Host": {"evil.example"}, "Request-Id": {"req_evil"}, "X-Original-Url": {"/livez"},
		"X-Http-Method-Override": {"DELETE"},
	}
	order := aliceToShop(1)
	paid := m.charge("k", order).want(201)
	for _, c := range []call{
		{method: "POST", path: "/payments", body: order.String()},
		{method: "POST", path: "/payments", body: "{"},
		{method: "GET", path: "/accounts/shop"},
		{method: "DELETE", path: "/payments"},
		{method: "GET", path: "/nothing"},
	} {
		key := http.Header{"Idempotency-Key": {"k"}}
		plain, got := m.send(m.first, c.with(key)), m.send(m.first, c.with(key).with(forged))
		if got.withoutIDs() != plain.withoutIDs() {
			got.fail("differs from what it is without those fields: %s", plain.body)
		}
		got.silentAboutSoftware()
		for name, values := range got.header {
			if strings.Contains(strings.Join(values, ""), "evil") {
				got.fail("repeats %s: %s", name, values)
			}
		}
	}
	m.retry("k", order).wantReplayOf(paid)
	if m.first.Log.Count("evil") > 0 {
		t.Error("a forged field was logged")
	}
}

// The service stops reading, and closes the connection of a client that goes on sending.
func TestSenderOfATooLargeBodyIsCutOff(t *testing.T) {
	m := onOneInstance(t)
	in := m.first
	announced := strings.Replace(m.headOfCharge(1<<30, "Idempotency-Key: k"),
		"Connection: close\r\n", "", 1)
	chunked := strings.Replace(announced, "Content-Length: 1073741824",
		"Transfer-Encoding: chunked", 1) + "40000000\r\n"
	elsewhere := strings.Replace(announced, "POST /payments", "POST /nothing", 1)
	for name, head := range map[string]string{
		"announced": announced, "chunked": chunked,
		"to no operation": elsewhere,
	} {
		t.Run(name, func(t *testing.T) {
			m := m.in(t)
			conn := m.connect(in)
			if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			sent, err := conn.Write([]byte(head))
			for part := bytes.Repeat([]byte(" "), 64<<10); err == nil; {
				var n int
				n, err = conn.Write(part)
				sent += n
			}
			const inBuffers = 32 << 20 // of both kernels, at most
			if errors.Is(err, os.ErrDeadlineExceeded) || sent > inBuffers {
				t.Errorf("%d bytes could be sent, until %v", sent, err)
			}
		})
	}
	m.wantPayments(0)
}

// Hundreds of clients are slow at their head, their body or at reading. Each is cut off at
// the time-out of that step, and other callers wait no longer because of them.
func TestSlowClientsAreCutOffAndDelayNoOther(t *testing.T) {
	t.Parallel()
	const (
		headerTimeout, requestTimeout = 3 * time.Second, 4 * time.Second
		clients                       = 300
		margin                        = 10 * time.Second // for a busy machine
	)
	db := pgtest.New(t)
	in := newInstanceWith(t, db.URL, settings{
		headerTimeout: headerTimeout, requestTimeout: requestTimeout, writeBufferSize: 4 << 10,
	})
	m := newMerchant(t, db, in, in)
	head := m.headOfCharge(10_000, "Idempotency-Key: slow")
	get := strings.NewReplacer("POST /payments", "GET /accounts/big", "10000", "0").Replace(head)
	// Its answer is larger than what fits on the way to a client that does not read.
	pairs := map[string]string{}
	for i := range 50 {
		pairs[fmt.Sprint("name ", i)] = strings.Repeat("x", 500)
	}
	m.put("big", body{"currency": "USD", "metadata": pairs}.String()).want(201)
	ways := []struct {
		name, begin, drip string
		within            time.Duration
	}{
		{"head", head[:len(head)-2], "X: y\r\n", headerTimeout},
		{"body", head, " ", requestTimeout},
		{"read", get, "x", requestTimeout + headerTimeout},
	}
	var slow sync.WaitGroup
	for i := range clients {
		way := ways[i%len(ways)]
		slow.Go(func() {
			began := time.Now()
			if err := trickle(in, way.begin, way.drip, way.within+margin); !isCut(err) {
				t.Errorf("a client that is slow at its %s went on for %v: %v", way.name,
					time.Since(began), err)
			}
		})
	}
	await.Until(t, patience, "all are there", func() bool { return in.open.Load() >= clients })
	const pays = 20
	for i := range pays {
		m.charge(fmt.Sprint("key ", i), aliceToShop(1)).want(201)
	}
	if in.open.Load() < clients/2 {
		t.Error("most of the slow clients were cut off before the others were served")
	}
	slow.Wait()
	m.wantBalance("shop", pays)
	m.wantCount(
		0, `SELECT count(*) FROM payments WHERE merchant_id = $1 AND idempotency_key = 'slow'`,
		m.id,
	)
}

// The other time-outs are long here.
func TestSlowHeadsAndIdleConnectionsAreCutOff(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := newInstanceWith(t, db.URL, settings{
		headerTimeout: time.Second, requestTimeout: time.Minute, idleTimeout: time.Second,
	})
	m := newMerchant(t, db, in, in)
	// Both end the test if the connection stays open.
	m.converse(in, "GET /livez HTTP/1.1\r\nHost: service\r\n")
	m.converse(in, "GET /livez HTTP/1.1\r\nHost: service\r\n\r\n")
}

// trickle sends the beginning and then a drip ten times a second, reads nothing, and
// returns why it ended.
func trickle(in *instance, begin, drip string, patience time.Duration) error {
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		// Set before it connects, the size is also the most that the service may send
		// without being read.
		failed := raw.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10)
		})
		return errors.Join(failed, err)
	}}
	conn, err := dialer.Dial("tcp", strings.TrimPrefix(in.url, "http://"))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for text := begin; ; text = drip {
		if _, err := conn.Write([]byte(text)); err != nil {
			return err
		}
		<-again.C
	}
}

// An instance that has as many connections as it may have serves those, tells others to
// come back, and is neither taken for dead nor sent more by whoever asks for its
// health.
func TestConnectionOverTheLimitIsRefused(t *testing.T) {
	t.Parallel()
	const most = 20
	db := pgtest.New(t)
	in := newInstanceWith(t, db.URL,
		settings{connectionsMax: most, headerTimeout: 20 * time.Second})
	m := newMerchant(t, db, in, in)
	ask := func(path string) *answer {
		return m.speak(in,
			"GET "+path+" HTTP/1.1\r\nHost: service\r\nAuthorization: Bearer "+m.apiKey+"\r\n\r\n")
	}
	m.caller.HTTP.CloseIdleConnections()
	await.Until(t, patience, "no connection is left", func() bool { return in.open.Load() == 0 })
	var taken []net.Conn
	for n := range int64(most) {
		taken = append(taken, m.connect(in))
		await.Until(t, patience, "it is accepted", func() bool { return in.open.Load() == n+1 })
	}

	for range 3 {
		over := ask("/accounts/alice")
		over.check()
		if over.want(503).wantProblem("overloaded").header.Get("Retry-After") == "" {
			over.fail("lacks Retry-After")
		}
		ask("/readyz").want(503)
		ask("/livez").want(200)
	}
	text := aliceToShop(1).String()
	served := m.exchange(taken[0], m.headOfCharge(len(text), "Idempotency-Key: k")+text)
	if served.StatusCode != http.StatusCreated {
		t.Errorf("a connection below the limit got %s", served.Status)
	}
	await.Until(t, patience, "that one has ended", func() bool { return in.open.Load() == most-1 })
	res := m.exchange(m.connect(in), "GET /readyz HTTP/1.1\r\nHost: service\r\n\r\n")
	if res.Close || res.StatusCode != http.StatusOK {
		t.Errorf("the connection that took its place got %s, and is closed: %t", res.Status,
			res.Close)
	}

	// When those over the limit are too many as well, the next is turned away without a
	// word.
	taken = taken[1:]
	for range 200 {
		taken = append(taken, m.connect(in))
	}
	last := m.connect(in)
	if err := last.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := last.Read(make([]byte, 1)); n > 0 || !isCut(err) {
		t.Errorf("the connection after all others got %d bytes, %v", n, err)
	}
	for _, conn := range taken {
		conn.Close()
	}
	await.Until(t, patience, "it has recovered", func() bool { return in.open.Load() < most })
	m.get("/accounts/shop").want(200)
}
