// Package httpserver is the HTTP server below the API: what a connection may cost, and what is not let through.
//
// A connection costs a goroutine, some buffers and a file descriptor for as long as its client likes, unless somebody says for
// how long. So every phase of it has a time: the head of a request (HeaderTimeout), the whole of it (RequestTimeout),
// the answer, which a client may be slow to take (RequestTimeout and HeaderTimeout together), and the pause until the next
// request (IdleTimeout). And there is a most of them (see [Limit]). It speaks HTTP/1 only: one request at a time on a
// connection, so the most connections are also the most requests.
//
// Two readers of one connection, a proxy and this server, must not read different requests out of the same bytes (request
// smuggling). net/http refuses most of what could be read in two ways, and closes the connection. What it lets through, [Admit] refuses.
//
// # What is answered without a problem document
//
// net/http answers by itself, in plain text and before any handler is asked, what it cannot read as a request: 400 (a malformed
// head, a missing Host, two lengths that differ), 431 (a head that is too large), 501 (an unknown transfer coding), 505 (another
// version of HTTP); and, with no body at all, 417 (an expectation that is not 100-continue). There is no way to make these
// problem documents. They name the mistake, and neither the software nor its version; all but the 417 close the connection.
package httpserver

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// headerSizeMax is the largest head of a request, in bytes. net/http adds 4 KiB to it.
const headerSizeMax = 32 << 10

// Config of a server. Every field is required.
type Config struct {
	Handler        http.Handler  // it should ask Admit first
	HeaderTimeout  time.Duration // for the head of a request; on a new connection counted from its opening
	RequestTimeout time.Duration // for reading a request, and for answering it
	IdleTimeout    time.Duration // between two requests of a connection
	Logger         *slog.Logger
}

// New returns a server that is to serve on a listener of Limit.
func New(c Config) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:                      c.Handler,
		Protocols:                    &protocols,
		DisableGeneralOptionsHandler: true, // "OPTIONS *" is answered as any other request
		ReadHeaderTimeout:            c.HeaderTimeout,
		ReadTimeout:                  c.RequestTimeout,
		WriteTimeout:                 c.RequestTimeout + c.HeaderTimeout,
		IdleTimeout:                  c.IdleTimeout,
		MaxHeaderBytes:               headerSizeMax,
		ErrorLog:                     slog.NewLogLogger(c.Logger.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, connOf(c))
		},
		ConnState: func(c net.Conn, state http.ConnState) {
			if own := connOf(c); own != nil && state == http.StateIdle {
				own.head.forget()
			}
		},
	}
}
