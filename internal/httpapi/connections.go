package httpapi

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// connectionReserve is how many connections over the limit are still answered.
const connectionReserve = 128

var errOverLimit = errors.New("there are too many connections")

// LimitConnections returns a listener that serves at most connectionsMax connections.
//
// If a full instance stopped accepting, new clients would wait without an answer. A
// health check would wait too, and the busy instance would be restarted. So a connection
// over the limit is accepted, gets one answer (see admit) and is closed. Beyond
// connectionReserve, a connection is closed at once.
//
// The server needs ConnContext too.
func LimitConnections(l net.Listener, connectionsMax int) net.Listener {
	return &limitedListener{Listener: l, most: int64(connectionsMax)}
}

type limitedListener struct {
	net.Listener
	most int64
	open atomic.Int64
}

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if n := l.open.Add(1); n <= l.most+connectionReserve {
			release := sync.OnceFunc(func() { l.open.Add(-1) })
			return &limitedConn{accepted, n > l.most, release}, nil
		}
		l.open.Add(-1)
		_ = accepted.Close()
	}
}

type limitedConn struct {
	net.Conn
	overLimit bool
	release   func()
}

func (c *limitedConn) Close() error {
	c.release()
	return c.Conn.Close()
}

// CloseWrite lets net/http end a connection whose client is still sending, so that the
// last answer arrives.
func (c *limitedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

type overLimitKey struct{}

// ConnContext is the ConnContext of a server on a listener of LimitConnections. It
// marks the requests of connections over the limit, also inside TLS.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if encrypted, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = encrypted.NetConn()
	}
	if own, ok := c.(*limitedConn); ok && own.overLimit {
		return context.WithValue(ctx, overLimitKey{}, true)
	}
	return ctx
}

// admit refuses requests on connections over the limit, and closes those connections.
// There, /livez still answers that the instance lives, and /readyz that it is not ready.
//
// It also closes a connection after a chunked request. That request may have had a
// Content-Length too, which net/http has dropped, and a proxy may have believed it. So
// bytes behind the chunks are never read as another request (RFC 9112, section 6.1).
func (a *api) admit(next http.Handler) http.Handler {
	return a.handle(func(w http.ResponseWriter, r *http.Request) error {
		if len(r.TransferEncoding) > 0 {
			w.Header().Set("Connection", "close")
		}
		if r.Context().Value(overLimitKey{}) == nil {
			next.ServeHTTP(w, r)
			return nil
		}
		w.Header().Set("Connection", "close")
		switch r.URL.Path {
		case "/livez":
			next.ServeHTTP(w, r)
		case "/readyz":
			writeNotReady(w)
		default:
			return errOverLimit
		}
		return nil
	})
}
