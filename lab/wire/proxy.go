package wire

import (
	"errors"
	"fmt"
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

	gate    gate
	refuse  atomic.Bool
	closed  chan struct{}
	closing sync.Once
	work    sync.WaitGroup // the accept loop and every connection

	mu       sync.Mutex // guards what follows, and every statement's Seen
	sessions map[*session]struct{}
	last     int // session id given out
	faults   []*Fault
	log      []*statement
	ended    map[uint32]struct{} // backends whose connections the proxy has ended
}

// Start puts a proxy in front of the Postgres at that URL for the length of a test. The
// test fails if a fault that it asked for never fired and is not Optional.
func Start(t testing.TB, upstreamURL string) *Proxy {
	t.Helper()
	p, err := Listen(upstreamURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		for _, f := range p.unfired() {
			t.Errorf("%s: never fired, so this test shows nothing; seen:\n%s", f, p.tail())
		}
	})
	return p
}

// Listen is Start outside of a test; the caller closes the proxy.
func Listen(upstreamURL string) (*Proxy, error) {
	config, err := pgconn.ParseConfig(upstreamURL)
	if err != nil {
		return nil, fmt.Errorf("parsing upstream URL: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	clientURL, err := redirect(upstreamURL, listener.Addr().String())
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	network, address := pgconn.NetworkAddress(config.Host, config.Port)
	p := &Proxy{
		upstream: upstreamURL, network: network, address: address, url: clientURL,
		listener: listener,
		closed:   make(chan struct{}), sessions: make(map[*session]struct{}),
		ended: make(map[uint32]struct{}),
	}
	p.work.Go(p.accept)
	return p, nil
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
	f := newFault(p, m, e)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, f)
	return f
}

// BlackHole stops all forwarding, in both directions, and closes nothing: neither side
// hears data or the end of the other one. New connections are accepted and stay silent.
// The kernel still acknowledges what a side sends, so TCP keep-alive and user time-outs
// do not notice.
func (p *Proxy) BlackHole() { p.gate.close() }

// Refuse resets new connections as soon as they come. Those that exist go on.
func (p *Proxy) Refuse() { p.refuse.Store(true) }

// Heal ends BlackHole and Refuse. What was under way arrives.
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
	p.closing.Do(func() {
		close(p.closed)
		_ = p.listener.Close()
	})
	p.Cut()
	p.work.Wait()
}

// unfired lists the faults that should have happened and did not.
func (p *Proxy) unfired() []*Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	var never []*Fault
	for _, f := range p.faults {
		if !f.optional && f.Fired() == 0 {
			never = append(never, f)
		}
	}
	return never
}

// candidates lists the faults that a statement matches and that still may fire.
func (p *Proxy) candidates(st *statement) []*Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	var candidates []*Fault
	for _, f := range p.faults {
		if !f.spent && f.match.test(st.text, st.seen) {
			candidates = append(candidates, f)
		}
	}
	return candidates
}

// dueBefore counts the match and returns the faults in front of the statement, in the
// order in which they were given. Nothing after one that takes the statement away is
// counted.
func (p *Proxy) dueBefore(candidates []*Fault, st *statement, txStatus byte) []*Fault {
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
