package wire

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// Proxy passes Postgres connections on to one server, and makes them fail where a test
// says.
type Proxy struct {
	upstream string
	network  string // of the server, for net.Dial
	address  string
	url      string
	listener net.Listener

	gate   gate
	refuse atomic.Bool
	ctx    context.Context // ends with the proxy
	end    context.CancelFunc
	work   sync.WaitGroup // the accept loop and every connection

	mu       sync.Mutex // guards the fields below
	sessions map[*session]struct{}
	last     int // the latest session id
	faults   []*Fault
	log      []*Seen
	ended    map[uint32]struct{} // backends whose connections the proxy has ended
}

// Start puts a proxy in front of the Postgres at that URL for the length of a test. The
// test fails if a fault never fired.
func Start(t testing.TB, upstreamURL string) *Proxy {
	t.Helper()
	config, err := pgconn.ParseConfig(upstreamURL)
	if err != nil {
		t.Fatalf("parsing upstream URL: %v", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{
		upstream: upstreamURL, listener: listener,
		sessions: make(map[*session]struct{}), ended: make(map[uint32]struct{}),
	}
	p.network, p.address = pgconn.NetworkAddress(config.Host, config.Port)
	p.ctx, p.end = context.WithCancel(context.Background())
	p.work.Go(p.accept)
	t.Cleanup(func() {
		p.Close()
		for _, f := range p.unfired() {
			t.Errorf("%s: never fired, so this test shows nothing; seen:\n%s", f, p.tail())
		}
	})
	if p.url, err = redirect(upstreamURL, listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	return p
}

// redirect rewrites a Postgres URL to the proxy, which speaks no TLS.
func redirect(upstreamURL, address string) (string, error) {
	u, err := url.Parse(upstreamURL)
	if err != nil || !strings.HasPrefix(u.Scheme, "postgres") {
		return "", errors.New("upstream is not a postgres:// URL")
	}
	u.Host = address
	query := u.Query()
	query.Del("host")
	query.Del("port")
	query.Set("sslmode", "disable")
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// URL is where a client connects to reach the server through the proxy.
func (p *Proxy) URL() string { return p.url }

// On makes the effect happen to the statements that match, from now on.
func (p *Proxy) On(m Match, e Effect) *Fault {
	f := &Fault{
		match: m, effect: e, proxy: p, fired: make(chan struct{}),
		release: make(chan struct{}), cut: make(chan struct{}),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, f)
	return f
}

// BlackHole stops all forwarding, in both directions, and closes nothing. Neither side
// receives data, or learns that the other side has closed. New connections are accepted
// and get no answer. The kernel still acknowledges the data that a side sends, so TCP
// keep-alive and user time-outs do not notice.
func (p *Proxy) BlackHole() { p.gate.close() }

// Refuse resets each new connection. Existing connections go on.
func (p *Proxy) Refuse() { p.refuse.Store(true) }

// Heal ends BlackHole and Refuse. The data that was under way arrives.
func (p *Proxy) Heal() {
	p.refuse.Store(false)
	p.gate.open()
}

// Cut resets all connections, on both sides.
func (p *Proxy) Cut() {
	p.mu.Lock()
	sessions := make([]*session, 0, len(p.sessions))
	for s := range p.sessions {
		sessions = append(sessions, s)
	}
	p.mu.Unlock()
	for _, s := range sessions {
		s.reset()
	}
}

// Close cuts everything and waits until all goroutines of the proxy have ended.
func (p *Proxy) Close() {
	p.end()
	_ = p.listener.Close()
	p.Cut()
	p.work.Wait()
}

// candidates lists the faults that a statement matches and that still may fire.
func (p *Proxy) candidates(st *Seen) []*Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	var candidates []*Fault
	for _, f := range p.faults {
		if !f.spent && f.match.test(st) {
			candidates = append(candidates, f)
		}
	}
	return candidates
}

// dueBefore counts the match and returns the faults in front of the statement, in the
// order in which they were given. A fault that takes the statement away ends the count.
func (p *Proxy) dueBefore(candidates []*Fault, st *Seen, txStatus byte) []*Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	var due []*Fault
	for _, f := range candidates {
		if !f.effect.actsBefore() || !f.effect.applies(st.text, txStatus) || !f.count() {
			continue
		}
		due = append(due, f)
		if f.effect.kind != holdBefore {
			break
		}
	}
	return due
}

// dueAfter counts the match and returns the first fault behind the statement.
func (p *Proxy) dueAfter(candidates []*Fault) *Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range candidates {
		if !f.effect.actsBefore() && f.count() {
			return f
		}
	}
	return nil
}

// unfired lists the faults that should have happened and did not.
func (p *Proxy) unfired() []*Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	var never []*Fault
	for _, f := range p.faults {
		select {
		case <-f.fired:
		default:
			never = append(never, f)
		}
	}
	return never
}
