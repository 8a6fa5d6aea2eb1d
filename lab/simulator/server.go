package simulator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Server is a running simulator.
type Server struct {
	options  Options
	log      *slog.Logger
	books    *books
	dice     dice
	running  running
	events   *sender
	listener net.Listener
	http     *http.Server

	ctx    context.Context // ends what waits: faults, retries, later statuses
	cancel context.CancelFunc
	work   sync.WaitGroup // requests, and what goes on in the background
}

// headerTimeout is for clients that send nothing.
const headerTimeout = 10 * time.Second

// Start opens the books and serves until Close. The context is for the start only. What
// was unfinished when the books were last closed goes on: events that are not delivered,
// and payments and refunds in an interim status.
func Start(ctx context.Context, o Options) (*Server, error) {
	o = o.withDefaults()
	s := &Server{options: o, log: o.Logger, running: running{keys: map[string]bool{}}}
	s.dice.set(Faults{})
	var err error
	if s.books, err = openBooks(o.BooksFile, o.APIVersion); err != nil {
		return nil, err
	}
	s.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listening: %w", err), s.books.db.Close())
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.events = newSender(s)
	if err := s.resume(); err != nil {
		s.cancel()
		return nil, errors.Join(err, s.listener.Close(), s.books.db.Close())
	}
	s.http = &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: headerTimeout,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	s.work.Go(func() {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the simulator no longer listens", "error", err)
		}
	})
	s.log.Info("the simulator listens", "url", s.URL(), "books", o.BooksFile)
	return s, nil
}

// resume goes on with what an earlier run has left.
func (s *Server) resume() error {
	var interim, events []string
	_, err := s.books.update(func(e *entry) (err error) {
		if err = sweepKeys(e, s.options.KeyWindow); err != nil {
			return err
		}
		if interim, err = unfinished(e); err != nil {
			return err
		}
		events, err = undelivered(e)
		return err
	})
	if err != nil {
		return fmt.Errorf("reading the books: %w", err)
	}
	s.finishLater(interim)
	s.events.add(events)
	return nil
}

// URL is the address of the API, as an SDK wants it.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// SetFaults replaces the faults.
func (s *Server) SetFaults(f Faults) error {
	if err := f.check(); err != nil {
		return err
	}
	s.dice.set(f)
	return nil
}

// SetWebhookURL tells where events are sent, also those that wait.
func (s *Server) SetWebhookURL(url string) { s.events.setURL(url) }

// shutdownTimeout is for answers that are being sent.
const shutdownTimeout = 3 * time.Second

// Close ends the simulator. Requests that hang on purpose are dropped, as by a crash.
func (s *Server) Close() error {
	s.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close() // a client keeps a connection busy
	}
	s.work.Wait()
	s.events.client.CloseIdleConnections()
	return s.books.db.Close()
}
