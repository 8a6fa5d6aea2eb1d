package wire

import (
	"fmt"

	"github.com/jackc/pgx/v5/pgproto3"
)

// injected is the message of every error that the proxy makes, to tell it from an error
// of Postgres.
const injected = "injected by the wire proxy"

var flushFrame = encode(&pgproto3.Flush{})

// passRequests reads the client's messages until it closes or the session is cut.
func (s *session) passRequests() error {
	for {
		message := s.ahead
		s.ahead = nil
		if message == nil {
			var err error
			if message, err = s.requests.Receive(); err != nil {
				return fmt.Errorf("reading from client: %w", err)
			}
		}
		if err := s.request(message); err != nil {
			return err
		}
	}
}

// request passes one message on. Messages that prepare an execution wait for it in the
// unit.
func (s *session) request(message pgproto3.FrontendMessage) error {
	frame := encode(message)
	kind := frame[0]
	if s.discarding && kind != kindSync {
		return nil
	}
	switch m := message.(type) {
	case *pgproto3.Parse:
		s.statements[m.Name] = newText(m.Query)
	case *pgproto3.Bind:
		s.portals[m.DestinationPortal] = s.statements[m.PreparedStatement]
	case *pgproto3.Describe, *pgproto3.Close:
	case *pgproto3.Execute:
		return s.execute(kind, s.portals[m.Portal], frame)
	case *pgproto3.Query:
		return s.execute(kind, newText(m.String), frame)
	case *pgproto3.Sync:
		s.discarding = false
		return s.send(frame, expected{kind: kind})
	default: // Flush, CopyData, passwords, Terminate: no reply that the queue must know
		return s.send(frame)
	}
	s.unit = append(s.unit, frame...)
	s.unitOwed = append(s.unitOwed, expected{kind: kind})
	return nil
}

// send passes the unit and the frame on. It notes the expected replies first, because
// the server may answer at once.
func (s *session) send(frame []byte, replies ...expected) error {
	for _, st := range s.queue.push(append(s.unitOwed, replies...)...) {
		s.proxy.note(st, skipped)
	}
	err := s.writeServer(append(s.unit, frame...))
	s.unit, s.unitOwed = s.unit[:0], s.unitOwed[:0]
	return err
}

// own makes the unit's messages the statement's, so that their errors and their replies
// are its own.
func (s *session) own(st *Seen, a *act) {
	for i := range s.unitOwed {
		s.unitOwed[i].statement, s.unitOwed[i].act = st, a
	}
}

// execute passes a statement on, through the faults that are due at it.
func (s *session) execute(kind byte, sql text, frame []byte) error {
	st := s.proxy.see(s, sql)
	candidates := s.proxy.candidates(st)
	if len(candidates) > 0 {
		if err := s.settle(); err != nil {
			return err
		}
	}
	skipping, status := s.queue.state()
	if skipping {
		candidates = nil
	}
	for _, f := range s.proxy.dueBefore(candidates, st, status) {
		if replaced, err := s.before(f, kind, st); replaced || err != nil {
			return err
		}
	}
	f := s.proxy.dueAfter(candidates)
	if f == nil {
		s.own(st, nil)
		return s.send(frame, expected{kind: kind, statement: st})
	}
	return s.executeWith(f, kind, st, frame)
}

// before makes the fault happen in front of the statement, and says whether something
// else took the statement's place.
func (s *session) before(f *Fault, kind byte, st *Seen) (replaced bool, err error) {
	switch f.effect.kind {
	case holdBefore:
		return false, f.hold(s)
	case dropBefore:
		s.proxy.gone(s)
		f.fire()
		s.reset()
		return true, errStopped
	case fatalBefore:
		s.proxy.gone(s)
		s.proxy.note(st, "error "+f.effect.code)
		f.fire()
		s.say(errorResponse("FATAL", f.effect.code))
		return true, errStopped
	case failInstead:
		return true, s.fail(f, kind, st)
	default: // rollbackInstead
		f.fire()
		return true, s.substitute(kind, st, "ROLLBACK", nil)
	}
}

// executeWith sends a statement whose reply a fault waits for. If the fault stops the
// session at this statement, the server gets nothing after it but the Sync that belongs
// to it.
func (s *session) executeWith(f *Fault, kind byte, st *Seen, frame []byte) error {
	a := &act{fault: f, done: make(chan struct{})}
	replies := []expected{{kind: kind, statement: st, act: a}}
	if !f.effect.stopsAfter() {
		s.own(st, nil)
		return s.send(frame, replies...)
	}
	s.own(st, a)
	a.synced = kind == kindQuery
	if !a.synced {
		next, err := s.requests.Receive()
		if err != nil {
			return fmt.Errorf("reading from client: %w", err)
		}
		if _, a.synced = next.(*pgproto3.Sync); a.synced {
			frame = append(frame, encode(next)...)
			replies = append(replies, expected{kind: kindSync, act: a})
		} else {
			frame = append(frame, flushFrame...)
			s.ahead = next
		}
	}
	if err := s.send(frame, replies...); err != nil {
		return err
	}
	return s.await(a.done)
}

// fail puts an error in the statement's place that the server itself raises; see the
// package comment for COMMIT.
func (s *session) fail(f *Fault, kind byte, st *Seen) error {
	f.fire()
	if st.text.commits() {
		s.discarding = kind == kindExecute
		return s.substitute(kind, st, "ROLLBACK", &act{fault: f})
	}
	raise := fmt.Sprintf(
		"DO $wire$ BEGIN RAISE EXCEPTION USING ERRCODE = '%s', MESSAGE = '%s'; END $wire$",
		f.effect.code, injected)
	return s.substitute(kind, st, raise, nil)
}

// substitute executes other SQL in the statement's place. The client's own Parse, Bind
// and Describe go to the server all the same. So the client reads the replies that it
// waits for, and the names that it gave exist. The Flush is for a client that does not
// send Sync before it has read the reply.
func (s *session) substitute(kind byte, st *Seen, sql string, a *act) error {
	s.own(st, nil)
	if kind == kindQuery {
		return s.send(encode(&pgproto3.Query{String: sql}),
			expected{kind: kind, statement: st, act: a})
	}
	frames := encode(&pgproto3.Parse{Query: sql}, &pgproto3.Bind{}, &pgproto3.Execute{},
		&pgproto3.Flush{})
	return s.send(frames,
		expected{kind: kindParse, statement: st, hidden: true},
		expected{kind: kindBind, statement: st, hidden: true},
		expected{kind: kindExecute, statement: st, act: a})
}
