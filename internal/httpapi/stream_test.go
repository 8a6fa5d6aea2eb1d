package httpapi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// eventStream is a stream that a merchant reads.
type eventStream struct {
	*http.Response
	t     *testing.T
	lines *bufio.Reader
	close context.CancelFunc
}

// stream begins to read a stream on the other instance. It is given up when nobody can wait
// for it any more.
func (m *merchant) stream(path, lastEventID string) *eventStream {
	m.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, m.other.url+path, http.NoBody)
	if err != nil {
		m.t.Fatal(err)
	}
	r.Header = http.Header{
		"Authorization": {"Bearer " + m.apiKey},
		"Accept":        {"application/json;q=0.5, text/event-stream"},
	}
	if lastEventID != "" {
		r.Header.Set("Last-Event-ID", lastEventID)
	}
	transport := &http.Transport{}
	m.t.Cleanup(transport.CloseIdleConnections)
	giveUp := time.AfterFunc(2*patience, cancel)
	m.t.Cleanup(func() {
		giveUp.Stop()
		cancel()
	})
	answer, err := transport.RoundTrip(r)
	if err != nil {
		m.t.Fatal(err)
	}
	return &eventStream{answer, m.t, bufio.NewReader(answer.Body), cancel}
}

// block is a part of a stream: an event or a comment.
type block struct{ comment, id, event, data string }

// next waits for the next part of the stream.
func (s *eventStream) next() (b block, err error) {
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			return b, err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "\n":
			return b, nil
		case name == "":
			b.comment = value
		case name == "id":
			b.id = value
		case name == "event":
			b.event = value
		case name == "data":
			b.data = value
		}
	}
}

// want reads so many events.
func (s *eventStream) want(n int) (events []block) {
	s.t.Helper()
	for len(events) < n {
		b, err := s.nextEvent()
		if err != nil {
			s.t.Fatalf("the stream ends after %d events: %v", len(events), err)
		}
		events = append(events, b)
	}
	return events
}

// nextEvent waits for the next event. It passes over comments.
func (s *eventStream) nextEvent() (b block, err error) {
	for b.data == "" && err == nil {
		b, err = s.next()
	}
	return b, err
}

// wantEnd checks that the stream ends, and as a stream does that is complete.
func (s *eventStream) wantEnd() {
	s.t.Helper()
	timer := time.AfterFunc(patience, s.close)
	defer timer.Stop()
	for {
		if _, err := s.next(); err != nil {
			if !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				s.t.Errorf("the stream does not end, or not cleanly: %v", err)
			}
			return
		}
	}
}

func TestStreamHasEveryEventAndResumes(t *testing.T) {
	m := onTwoInstances(t)
	quiet := m.stream("/events?type=payment.canceled&begin=latest", "")
	if b, err := quiet.next(); err != nil || b.comment == "" || b.id == "" {
		t.Errorf("a stream without events begins with %+v, %v", b, err)
	}
	s := m.stream("/events", "")
	blocks := s.want(2)                     // alice's money
	m.charge("1", aliceToShop(1)).want(201) // on another instance than the stream's
	blocks = append(blocks, s.want(1)...)
	m.chargeOn(m.other, "2", aliceToShop(1).String()).want(201)
	blocks = append(blocks, s.want(1)...)
	all := m.awaitEvents(4)
	for i, b := range blocks {
		if b.data != all[i].Raw || b.event != all[i].Type {
			t.Errorf("event %d is\n%+v\nthe list has\n%s", i, b, all[i].Raw)
		}
	}
	if got := m.stream("/events", blocks[1].id).want(1)[0]; got != blocks[2] {
		t.Errorf("after Last-Event-ID comes %+v", got)
	}
	first, third := blocks[0].id, blocks[2].id
	if got := m.stream("/events?cursor="+first, third).want(1)[0]; got != blocks[3] {
		t.Errorf("with a cursor and a later Last-Event-ID comes %+v", got)
	}
	if more, _ := m.follow("/events?limit=1", third); len(more) != 1 ||
		more[0].Raw != blocks[3].data {
		t.Errorf("the id of an event is no cursor of the list: %v", more)
	}
	m.post("cancel", m.authorize("hold", 1)+"/cancel", "").want(200)
	if got := quiet.want(1)[0]; got.event != "payment.canceled" {
		t.Errorf("the filtered stream has %+v", got)
	}
	for _, wrong := range []string{"?limit=5", "?cursor=made-up", "?type=none"} {
		if s := m.stream("/events"+wrong, ""); s.StatusCode != http.StatusBadRequest {
			t.Errorf("%s is answered %d", wrong, s.StatusCode)
		}
	}
	if s := m.stream("/events", "made-up"); s.StatusCode != http.StatusBadRequest {
		t.Errorf("a made-up Last-Event-ID is answered %d", s.StatusCode)
	}
	head := call{
		method: "HEAD", path: "/events",
		header: http.Header{"Accept": {"text/event-stream"}},
	}
	m.send(m.first, head).want(200)
	page := call{
		path:   "/events?limit=1",
		header: http.Header{"Accept": {"application/json, text/event-stream;q=0.0"}},
	}
	m.send(m.first, page).want(200)
}

// The time limits of a request would end a quiet stream, and a proxy too.
func TestQuietStreamOutlivesTheLimitsOfARequest(t *testing.T) {
	m := withSettings(t, settings{
		requestTimeout: time.Second, headerTimeout: time.Second,
	})
	s := m.stream("/events", "")
	last := s.want(2)[1]
	timer := time.AfterFunc(patience, s.close)
	defer timer.Stop()
	b, err := s.next()
	if err != nil || b.comment == "" || b.id != last.id {
		t.Errorf("then comes %+v, %v; want a comment and the id %s", b, err, last.id)
	}
	m.charge("k", aliceToShop(1)).want(201)
	s.want(1)
}

func TestStreamsAreBounded(t *testing.T) {
	m := withSettings(t, settings{eventStreamsMax: 2})
	first, second := m.stream("/events", ""), m.stream("/events", "")
	if s := m.stream("/events", ""); s.StatusCode != http.StatusServiceUnavailable ||
		s.Header.Get("Retry-After") == "" {
		t.Errorf("a third stream is answered %d %v", s.StatusCode, s.Header)
	}
	m.get("/events").want(200)
	first.close()
	await.Until(t, patience, "there is room for another", func() bool {
		s := m.stream("/events", "")
		return s.StatusCode == http.StatusOK
	})
	second.want(2)
}

// Its end is a write too, and may come long after the last event.
func TestStreamEndsWithItsCredential(t *testing.T) {
	m := withSettings(t, settings{writeTimeoutMax: time.Second})
	key := m.secondKey()
	s := m.as(key).stream("/events", "")
	s.want(2)
	m.revoke(key)
	s.wantEnd()
}

func TestStreamEndsWhenItsCursorIsLost(t *testing.T) {
	t.Parallel()
	db := pgtest.NewBroken(t) // an event is missing
	in := newInstance(t, db.URL)
	m := newMerchant(t, db, in, in)
	s := m.stream("/events", "")
	s.want(2)
	m.forge(1, `
		DELETE FROM events
		WHERE (transaction_id, id) = (
			SELECT transaction_id, id FROM events ORDER BY transaction_id DESC, id DESC LIMIT 1)`)
	s.wantEnd()
}

// A reader that does not read would otherwise hold its place for ever.
func TestStreamThatIsNotReadIsCutOff(t *testing.T) {
	m := withSettings(t, settings{eventStreamsMax: 1, writeBufferSize: 4096})
	atOnce(16, func(w int) *answer {
		var a *answer
		for i := range 40 {
			a = m.chargeOn(m.first, fmt.Sprint("charge ", w, " ", i), aliceToShop(1).
				with("description", strings.Repeat("x", 500)).String()).want(201)
		}
		return a
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(m.other.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"+
		"Authorization: Bearer %s\r\n\r\n", m.apiKey)
	status := func() int { // of another stream
		s := m.stream("/events?begin=latest", "")
		defer s.close()
		return s.StatusCode
	}
	await.Until(t, patience, "it has the only place", func() bool {
		return status() == http.StatusServiceUnavailable
	})
	await.Until(t, patience, "there is room for another", func() bool {
		return status() == http.StatusOK
	})
}
