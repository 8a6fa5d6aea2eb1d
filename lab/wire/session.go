package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgproto3"
)

var errServerClosed = errors.New("writing to server")

// session is one client's connection and the server connection behind it.
type session struct {
	proxy  *Proxy
	id     int
	app    string
	client net.Conn
	server net.Conn

	// Only the requests goroutine uses these.
	requests   *pgproto3.Backend        // reads the client
	ahead      pgproto3.FrontendMessage // was read, and is passed on next
	statements map[string]text
	portals    map[string]text
	unit       []byte // the messages of a statement whose Execute has not come yet
	unitOwed   []expected
	discarding bool // after a refused COMMIT: the server would skip up to Sync

	// Only the replies goroutine uses these.
	replies  *pgproto3.Frontend // reads the server
	withheld []byte             // the reply that a fault keeps back

	queue      queue
	backendPID atomic.Uint32
	ended      atomic.Bool   // the client is closed in order, and only its end is awaited
	done       chan struct{} // closed by reset
	resetOnce  sync.Once
	serverGone chan struct{} // closed when the replies goroutine has ended
}

func newSession(
	p *Proxy, client, server net.Conn, requests *pgproto3.Backend, app string,
) *session {
	return &session{
		proxy: p, app: app, client: client, server: server,
		requests: requests, replies: pgproto3.NewFrontend(server, nil),
		statements: make(map[string]text), portals: make(map[string]text),
		done: make(chan struct{}), serverGone: make(chan struct{}),
	}
}

// run passes messages in both directions until both sides have gone.
func (s *session) run() {
	go func() {
		defer close(s.serverGone)
		_ = s.passReplies() // every cause has the same consequence
		s.closeClientInOrder()
	}()
	if err := s.passRequests(); errors.Is(err, errServerClosed) {
		<-s.serverGone // the server's last message has yet to reach the client
	}
	if s.ended.Load() {
		// Closing with unread data would reset the connection and could destroy what
		// the client has yet to read.
		_, _ = io.Copy(io.Discard, s.client)
	}
	// In a black hole, the server does not learn that its client has left.
	s.proxy.gate.wait(s.done)
	_ = s.server.Close()
	<-s.serverGone
	_ = s.client.Close()
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

// say tells the client a message of the proxy and closes. The client's connection is
// closed in order, so that the client reads the message. The server's is reset, so that
// a transaction ends there too.
func (s *session) say(frames []byte) {
	_ = s.writeClient(frames) // the client may have left
	s.closeClientInOrder()
	abort(s.server)
}

// closeClientInOrder ends the stream to the client. The requests goroutine then waits
// for the client to close too.
func (s *session) closeClientInOrder() {
	s.proxy.gate.wait(s.done)
	s.proxy.gone(s)
	s.ended.Store(true)
	if half, ok := s.client.(*net.TCPConn); ok {
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
	if err := s.writeServer(flushFrame); err != nil {
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

func (s *session) writeServer(frames []byte) error {
	s.proxy.gate.wait(s.done)
	if _, err := s.server.Write(frames); err != nil {
		return fmt.Errorf("%w: %w", errServerClosed, err)
	}
	return nil
}

func (s *session) writeClient(frames []byte) error {
	s.proxy.gate.wait(s.done)
	if _, err := s.client.Write(frames); err != nil {
		return fmt.Errorf("writing to client: %w", err)
	}
	return nil
}

// abort closes with a reset.
func abort(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// encode panics where pgproto3 refuses a message, which it does only for one above a
// gigabyte.
func encode(messages ...pgproto3.Message) []byte {
	var frames []byte
	for _, message := range messages {
		var err error
		if frames, err = message.Encode(frames); err != nil {
			panic(fmt.Sprintf("wire: encoding %T: %v", message, err))
		}
	}
	return frames
}

func errorResponse(severity, code string) []byte {
	return encode(&pgproto3.ErrorResponse{
		Severity: severity, SeverityUnlocalized: severity, Code: code, Message: injected,
	})
}
