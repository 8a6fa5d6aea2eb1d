package httpserver

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// reserve is how many connections over the most are still listened to.
const reserve = 128

// ErrOverLimit means that the request came on a connection over the limit.
var ErrOverLimit = errors.New("there are too many connections")

// Limit returns a listener that has at most connectionsMax connections open, and a few more to say so.
//
// A listener that just stopped accepting would leave new clients waiting without a word, and with them whoever asks for
// the instance's health: it would be taken for dead, and restarted, because it is busy. So connections over the
// limit are accepted, get one answer each (see Admit) and are closed. When these are too many as well, the rest are closed at once.
func Limit(l net.Listener, connectionsMax int) net.Listener {
	return &limited{Listener: l, most: int64(connectionsMax)}
}

type limited struct {
	net.Listener
	most int64
	open atomic.Int64
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if n := l.open.Add(1); n <= l.most+reserve {
			release := sync.OnceFunc(func() { l.open.Add(-1) })
			return &conn{Conn: accepted, overLimit: n > l.most, release: release}, nil
		}
		l.open.Add(-1)
		_ = accepted.Close() // it has nothing to say, and there is nobody to tell
	}
}

// conn is a connection with what Admit has to know of it.
type conn struct {
	net.Conn
	overLimit bool
	release   func()
	head      head
}

type connKey struct{}

// connOf is the connection as Limit made it, also inside TLS; nil if it is none of Limit's.
func connOf(c net.Conn) *conn {
	if encrypted, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = encrypted.NetConn()
	}
	own, _ := c.(*conn)
	return own
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.head.record(p[:n])
	return n, err
}

// CloseWrite lets net/http end a connection so that its last answer arrives although more is being sent to it.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func (c *conn) Close() error {
	c.release()
	return c.Conn.Close()
}

// Admit tells why a request must be refused, before anything else is looked at: ErrOverLimit, ErrAmbiguous, or nil for nearly all.
// Where the connection must not carry another request, the answer will close it.
func Admit(w http.ResponseWriter, r *http.Request) error {
	c, _ := r.Context().Value(connKey{}).(*conn)
	if c == nil {
		return nil
	}
	seen, err := c.head.judge(r)
	if c.overLimit && err == nil {
		err = ErrOverLimit
	}
	if err != nil || isChunked(r) && !seen {
		w.Header().Set("Connection", "close")
	}
	return err
}
