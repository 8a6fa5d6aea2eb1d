package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
)

const (
	// A stream looks for events soon after this instance has committed. It finds the
	// commits of other instances by looking anyway.
	lookPause    = 50 * time.Millisecond
	lookInterval = 500 * time.Millisecond
	// lookTimeout is for one look at the feed.
	lookTimeout = 5 * time.Second
	// looksAtOnce bounds the connections that all streams together take from the pool. A
	// look may last until a standby comes back.
	looksAtOnce = 2

	// heartbeatInterval keeps proxies from closing a quiet stream, and finds readers that
	// have gone.
	heartbeatInterval = 15 * time.Second
	// streamWriteTimeout is for a reader that does not read.
	streamWriteTimeout = 10 * time.Second
)

var (
	errTooManyStreams = errors.New("there are too many streams of events")
	errStreamLimit    = &invalidRequest{detail: "limit is for pages, and a stream has none"}
)

// Streams say how GET /events streams.
type Streams struct {
	Max      int                    // streams at once; further ones are answered 503
	Changed  func() <-chan struct{} // is closed when this instance commits; nil: never
	Stopping <-chan struct{}        // is closed when the streams have to end; nil: never
}

// streams are what all streams of an instance share.
type streams struct{ open, looking *semaphore.Weighted }

func newStreams(config Streams) streams {
	return streams{
		semaphore.NewWeighted(int64(config.Max)), semaphore.NewWeighted(looksAtOnce),
	}
}

// eventStream is one stream of server-sent events (the HTML standard, section 9.2).
type eventStream struct {
	*eventQuery
	a       *api
	r       *http.Request
	w       http.ResponseWriter
	out     *http.ResponseController
	changed <-chan struct{} // is closed when there may be more than the last look has seen
	moved   bool            // the last look has come further, so there may be more now
	wrote   time.Time
}

// streamEvents writes events as they come, until the reader goes, the instance shuts down,
// the credential is revoked or the cursor is lost. The reader goes on at the last id that
// it has got.
func (a *api) streamEvents(w http.ResponseWriter, r *http.Request, q *eventQuery) error {
	if r.URL.Query().Has("limit") {
		return errStreamLimit
	}
	if !a.streams.open.TryAcquire(1) {
		return errTooManyStreams
	}
	defer a.streams.open.Release(1)
	req := requestOf(r)
	s := &eventStream{
		eventQuery: q, a: a, r: r, w: w, out: http.NewResponseController(w),
	}
	page, err := s.look(req.connection) // its error is still answered with a problem
	if err != nil {
		return err
	}
	req.streamed = true
	// The end of the answer is a write too, and the last one may be long ago.
	defer func() { _ = s.out.SetWriteDeadline(time.Now().Add(streamWriteTimeout)) }()
	s.writeHead()
	for s.write(page) == nil && s.wait(page) {
		if page, err = s.look(req.connection); err == nil {
			continue
		}
		switch problemOf(err).Status {
		case http.StatusServiceUnavailable: // it looks again
			page = outbox.Page{Next: *s.after}
		case http.StatusInternalServerError:
			req.err = err
			return nil
		default:
			return nil
		}
	}
	return nil
}

// look reads the next events. A revoked API key is noticed as soon as for any other
// request.
func (s *eventStream) look(ctx context.Context) (outbox.Page, error) {
	if s.a.Streams.Changed != nil {
		s.changed = s.a.Streams.Changed() // before it reads, so that no commit is missed
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	token, _ := bearerToken(s.r.Header["Authorization"])
	identity, err := s.a.Authenticator.Authenticate(ctx, token)
	if err != nil {
		return outbox.Page{}, err
	}
	if err := s.a.streams.looking.Acquire(ctx, 1); err != nil {
		return outbox.Page{}, err
	}
	defer s.a.streams.looking.Release(1)
	s.moved = false
	page, err := s.read(ctx, s.a.Feed, identity.MerchantID, s.pageSize())
	if err == nil {
		s.moved = s.after != nil && *s.after != page.Next
		s.after = &page.Next
	}
	return page, err
}

// pageSize is how many events a look reads. A stream that begins at the latest events
// begins with a few of them.
func (s *eventStream) pageSize() int {
	if s.after == nil && s.latest {
		return pageSizeDefault
	}
	return pageSizeMax
}

// writeHead begins the answer.
func (s *eventStream) writeHead() {
	header := s.w.Header()
	header.Set("Content-Type", eventStreamType)
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // nginx passes each event on at once
	header.Set("X-Content-Type-Options", "nosniff")
	s.w.WriteHeader(http.StatusOK)
}

// write sends events. If there are none for a while, it sends a comment and the cursor. An
// error means that the reader has gone.
func (s *eventStream) write(page outbox.Page) error {
	var text bytes.Buffer
	for i := range page.Events {
		e := &page.Events[i]
		fmt.Fprintf(&text, "id: %s\nevent: %s\ndata: %s\n\n", *s.cursor(e.Position().Bytes()),
			e.Type, e.JSON())
	}
	if text.Len() == 0 {
		if time.Since(s.wrote) < heartbeatInterval {
			return nil
		}
		fmt.Fprintf(&text, ": waiting\nid: %s\n\n", *s.cursor(page.Next.Bytes()))
	}
	s.wrote = time.Now()
	if err := s.out.SetWriteDeadline(s.wrote.Add(streamWriteTimeout)); err != nil {
		return err
	}
	if _, err := s.w.Write(text.Bytes()); err != nil {
		return err
	}
	return s.out.Flush()
}

// wait returns true when it is time for another look, and false when the stream ends.
func (s *eventStream) wait(page outbox.Page) bool {
	switch {
	case len(page.Events) == pageSizeMax: // the reader is behind
		return s.pause(nil, 0)
	case s.moved:
		return s.pause(nil, lookPause)
	}
	return s.pause(nil, lookPause) &&
		s.pause(s.changed, lookInterval-lookPause)
}

// pause returns false if the stream ends meanwhile.
func (s *eventStream) pause(until <-chan struct{}, most time.Duration) bool {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-requestOf(s.r).connection.Done():
		return false
	case <-s.a.Streams.Stopping:
		return false
	case <-until:
	case <-timer.C:
	}
	return true
}
