package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

var errServerClosed = errors.New("writing to server")

// session is one client's connection and the server connection behind it.
type session struct {
	proxy  *Proxy
	id     int
	app    string
	client net.Conn
	server net.Conn

	// The requests goroutine's own: what it reads, what it knows of the client's names,
	// and the messages of a statement whose Execute has not come yet.
	in         frameReader
	toServer   *bufio.Writer
	statements map[string]text
	portals    map[string]text
	unit       []byte
	unitOwed   []expected
	// a refused COMMIT: what follows up to Sync is lost, as the server would skip it
	discarding bool

	// The replies goroutine's own, but for toClient: see clientMu.
	replies  frameReader
	withheld []byte // the reply that a fault keeps back

	// orders writes to the client: FatalBefore writes from the requests goroutine
	clientMu sync.Mutex
	toClient *bufio.Writer

	queue      queue
	backendPID atomic.Uint32
	left       atomic.Bool   // the client was reset and the server was not told
	ended      atomic.Bool   // the client is closed in order, and only its end is awaited
	done       chan struct{} // closed by reset
	resetOnce  sync.Once
	serverGone chan struct{} // closed when the replies goroutine has ended
}

func newSession(p *Proxy, client, server net.Conn, in frameReader, app string) *session {
	s := &session{
		proxy: p, app: app, client: client, server: server, in: in,
		statements: make(map[string]text), portals: make(map[string]text),
		replies: newFrameReader(server),
		done:    make(chan struct{}), serverGone: make(chan struct{}),
	}
	s.toServer = bufio.NewWriterSize(gated{server, s}, bufferSize)
	s.toClient = bufio.NewWriterSize(gated{client, s}, bufferSize)
	return s
}

// run passes messages in both directions until both sides have gone.
func (s *session) run() {
	go func() {
		defer close(s.serverGone)
		_ = s.passReplies() // why it ended shows in what it leaves behind
		s.closeClientInOrder()
	}()
	if err := s.passRequests(); errors.Is(err, errServerClosed) {
		<-s.serverGone // its last words have yet to reach the client
	}
	if s.ended.Load() {
		// Closing with unread data would reset the connection and could destroy what
		// the client has yet to read.
		_, _ = io.Copy(io.Discard, s.client)
	}
	// in a black hole, the server does not learn that its client has left
	s.proxy.gate.wait(s.done)
	if !s.left.Load() {
		_ = s.server.Close()
	}
	<-s.serverGone
	_ = s.client.Close()
	_ = s.server.Close()
	s.proxy.forget(s)
}

// reset drops both connections as a broken network does.
func (s *session) reset() {
	s.resetOnce.Do(func() {
		s.proxy.gone(s)
		close(s.done)
		abort(s.server)
		abort(s.client)
	})
}

// resetClient drops the client; the server side stays until the fault is released, or
// the server closes it.
func (s *session) resetClient(f *Fault) {
	s.left.Store(true)
	f.leave(s)
	abort(s.client)
}

// cutFor drops what the fault's effect says.
func (s *session) cutFor(f *Fault, e Effect) {
	if e.leaveServer {
		s.resetClient(f)
		return
	}
	s.reset()
}

// say tells the client something of our own and closes: in order at the client, who is
// to read it, and by a reset at the server, so that a transaction ends there too.
func (s *session) say(frames []byte) {
	s.clientMu.Lock()
	_, _ = s.toClient.Write(frames) // the client may have left
	_ = s.toClient.Flush()
	s.clientMu.Unlock()
	s.closeClientInOrder()
	abort(s.server)
}

// closeClientInOrder ends the stream to the client. The requests goroutine then waits
// for the client to close too.
func (s *session) closeClientInOrder() {
	if s.left.Load() {
		return
	}
	s.proxy.gate.wait(s.done)
	s.proxy.gone(s)
	s.ended.Store(true)
	if half, ok := s.client.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// settle waits until the client has the replies to everything that was sent to the
// server. So the server has executed it, or skips what comes next because of an error
// in it.
func (s *session) settle() error {
	idle := s.queue.emptied()
	if idle == nil {
		return nil
	}
	if _, err := s.toServer.Write(flushFrame); err != nil {
		return err
	}
	if err := s.toServer.Flush(); err != nil {
		return err
	}
	return s.await(idle)
}

// await waits for the replies goroutine, as long as it lives.
func (s *session) await(done <-chan struct{}) error {
	select {
	case <-done:
	case <-s.serverGone:
	case <-s.done:
	}
	select {
	case <-done:
		return nil
	default:
		return errStopped
	}
}

// gated writes when the proxy is not a black hole.
type gated struct {
	conn    net.Conn
	session *session
}

func (g gated) Write(data []byte) (int, error) {
	g.session.proxy.gate.wait(g.session.done)
	n, err := g.conn.Write(data)
	switch {
	case err == nil:
		return n, nil
	case g.conn == g.session.server:
		return n, fmt.Errorf("%w: %w", errServerClosed, err)
	case g.session.left.Load():
		return len(data), nil // the client was reset, and the server is not to notice
	default:
		return n, fmt.Errorf("writing to client: %w", err)
	}
}

// abort closes with a reset.
func abort(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
