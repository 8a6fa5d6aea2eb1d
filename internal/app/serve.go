package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/httpapi"
)

const (
	headerTimeout = 5 * time.Second
	headerSizeMax = 32 << 10 // net/http adds 4 KiB
)

// Start is New and Listen, for an instance that has the process to itself.
func Start(
	ctx context.Context, config Config, databaseURL string, logger *slog.Logger,
) (*Instance, error) {
	collectRarely()
	in, err := New(ctx, config, databaseURL, logger)
	if err != nil {
		return nil, err
	}
	if err := in.Listen(ctx); err != nil {
		in.Close()
		return nil, err
	}
	return in, nil
}

// Listen opens the ports, so that a port that is taken is an error before Serve.
func (in *Instance) Listen(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", in.config.ListenAddr)
	if err != nil {
		return fmt.Errorf("opening the port of LISTEN_ADDR (if another program has it, choose "+
			"another, such as 127.0.0.1:0 for any free one): %w", err)
	}
	in.listener = httpapi.LimitConnections(listener, in.config.ConnectionsMax)
	if in.config.AdminAddr == "" {
		return nil
	}
	in.admin, err = new(net.ListenConfig).Listen(ctx, "tcp", in.config.AdminAddr)
	if err != nil {
		err = fmt.Errorf("opening the port of ADMIN_ADDR (a second instance on one machine needs "+
			"another, such as 127.0.0.1:0 for any free one, or off): %w", err)
		return errors.Join(err, listener.Close())
	}
	return nil
}

// URL is the address of the API, for callers.
func (in *Instance) URL() string {
	if in.config.Certificate != nil {
		return "https://" + in.address()
	}
	return "http://" + in.address()
}

// address is where the API listens.
func (in *Instance) address() string { return in.listener.Addr().String() }

// Serve answers requests until ctx ends. Then the instance is no longer ready, accepted
// requests finish, and the instance is closed. An error means that it could not serve,
// or that requests were still running at the shutdown timeout.
func (in *Instance) Serve(ctx context.Context) error {
	defer in.Close()
	stopWorkers := in.startWorkers()
	defer stopWorkers()
	stopMessages := in.startBroker(ctx)
	defer stopMessages()
	server := in.newServer()
	failed := make(chan error, 2)
	go func() { failed <- in.serveAPI(server) }()
	if in.admin != nil {
		admin := in.newAdminServer()
		defer func() { _ = admin.Close() }() // last, so that it reports the shutdown
		go func() { failed <- admin.Serve(in.admin) }()
		in.logger.Info("serving health, metrics and profiles", "address", in.admin.Addr().String())
	}
	in.logger.Info("serving", "address", in.address(), "url", in.URL())
	select {
	case err := <-failed:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	return in.shutDown(server)
}

// startWorkers starts the background workers. When stop returns, all have ended.
func (in *Instance) startWorkers() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, w := range in.workers() {
		running.Go(func() { w.run(ctx, in.logger) })
	}
	if !in.feedOff() {
		running.Go(func() { in.Webhooks.FanOut(ctx) })
		running.Go(func() { in.Webhooks.Deliver(ctx) })
	}
	return func() {
		cancel()
		running.Wait()
	}
}

// newServer makes the server of the public API.
func (in *Instance) newServer() *http.Server {
	server := NewServer(in.closeWhenDraining(in.Handler), Timeouts{
		Header: headerTimeout, Request: in.config.RequestTimeout, Idle: in.config.IdleTimeout,
	}, in.logger)
	// Shutdown waits for requests, and a stream is one that does not end by itself.
	server.RegisterOnShutdown(sync.OnceFunc(func() { close(in.stopping) }))
	if in.config.Certificate != nil {
		server.TLSConfig = in.config.Certificate.config(in.logger)
	}
	return server
}

// closeWhenDraining lets each client end its connection with an answer once the instance
// shuts down. net/http closes idle connections when the shutdown delay is over, and a
// request that a client sends at that moment would fail.
func (in *Instance) closeWhenDraining(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if errors.Is(in.health.ready(), errDraining) {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// Timeouts bound each phase of a connection, or a client could hold it for ever.
type Timeouts struct {
	Header  time.Duration // to read a request's head; at first from the connection's opening
	Request time.Duration // to read a request, and to answer it
	Idle    time.Duration // between two requests
}

// NewServer makes a server for a listener of httpapi.LimitConnections. It speaks HTTP/1
// only: there a connection carries one request at a time, so the limit of connections
// also limits the requests.
//
// net/http itself answers input that is not a request, in plain text: 400 (a malformed
// head, no Host, two lengths that differ), 431 (a head that is too large), 501 (an
// unknown transfer coding) and 505 (another version). It answers 417, without a body, to
// an unknown expectation. All but the 417 close the connection.
func NewServer(handler http.Handler, timeouts Timeouts, logger *slog.Logger) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:                      handler,
		Protocols:                    &protocols,
		DisableGeneralOptionsHandler: true, // "OPTIONS *" is an ordinary request
		ReadHeaderTimeout:            timeouts.Header,
		ReadTimeout:                  timeouts.Request,
		WriteTimeout:                 timeouts.Request + timeouts.Header,
		IdleTimeout:                  timeouts.Idle,
		MaxHeaderBytes:               headerSizeMax,
		ErrorLog:                     slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		ConnContext:                  httpapi.ConnContext,
	}
}

// serveAPI answers requests until the server is shut down.
func (in *Instance) serveAPI(server *http.Server) error {
	if server.TLSConfig != nil {
		return server.ServeTLS(in.listener, "", "") // the certificate is in the TLSConfig
	}
	return server.Serve(in.listener)
}

// shutDown ends the API within the shutdown timeout. At first it is not ready but still
// serves, and closes each connection after its next answer. Then it takes no new
// connections and waits for accepted requests.
func (in *Instance) shutDown(server *http.Server) error {
	in.logger.Info("shutting down")
	ctx, cancel := context.WithTimeout(context.Background(), in.config.ShutdownTimeout)
	defer cancel()
	in.health.drain()
	select {
	case <-time.After(in.config.ShutdownDelay):
	case <-ctx.Done():
	}
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("waiting for accepted requests: %w", err), server.Close())
	}
	return nil
}
