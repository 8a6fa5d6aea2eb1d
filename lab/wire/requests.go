package wire

import (
	"fmt"

	"github.com/jackc/pgx/v5/pgproto3"
)

var flushFrame = encode(&pgproto3.Flush{})

// passRequests reads what the client sends until it closes or the session is cut.
func (s *session) passRequests() error {
	for {
		if s.in.Buffered() == 0 {
			if err := s.toServer.Flush(); err != nil {
				return err
			}
		}
		kind, size, err := s.in.header()
		if err != nil {
			return err
		}
		frame, err := s.in.take(size)
		if err != nil {
			return err
		}
		if s.discarding && kind != kindSync {
			continue
		}
		if err := s.request(kind, frame); err != nil {
			return err
		}
	}
}

// request passes one message on. Those that prepare an execution wait for it in the
// unit.
func (s *session) request(kind byte, frame []byte) error {
	switch kind {
	case kindParse, kindBind, kindDescribe, kindClose:
		return s.prepare(kind, frame)
	case kindExecute:
		sql, err := s.portal(frame)
		if err != nil {
			return err
		}
		return s.execute(kind, sql, frame)
	case kindQuery:
		var message pgproto3.Query
		if err := message.Decode(frame[headerSize:]); err != nil {
			return fmt.Errorf("decoding Query: %w", err)
		}
		return s.execute(kind, newText(message.String), frame)
	case kindSync:
		s.discarding = false
		return s.send(frame, expected{kind: kindSync})
	// Flush, CopyData, passwords, Terminate: the server owes nothing for them that we
	// would have to know
	default:
		return s.send(frame)
	}
}

// prepare keeps the names that lead from an Execute to its SQL.
func (s *session) prepare(kind byte, frame []byte) error {
	body := frame[headerSize:]
	switch kind {
	case kindParse:
		var message pgproto3.Parse
		if err := message.Decode(body); err != nil {
			return fmt.Errorf("decoding Parse: %w", err)
		}
		s.statements[message.Name] = newText(message.Query)
	case kindBind:
		var message pgproto3.Bind
		if err := message.Decode(body); err != nil {
			return fmt.Errorf("decoding Bind: %w", err)
		}
		s.portals[message.DestinationPortal] = s.statements[message.PreparedStatement]
	case kindClose:
		var message pgproto3.Close
		if err := message.Decode(body); err != nil {
			return fmt.Errorf("decoding Close: %w", err)
		}
		if message.ObjectType == 'S' {
			delete(s.statements, message.Name)
		}
	}
	s.unit = append(s.unit, frame...)
	s.unitOwed = append(s.unitOwed, expected{kind: kind})
	return nil
}

func (s *session) portal(frame []byte) (text, error) {
	var message pgproto3.Execute
	if err := message.Decode(frame[headerSize:]); err != nil {
		return text{}, fmt.Errorf("decoding Execute: %w", err)
	}
	return s.portals[message.Portal], nil
}

// send passes the unit and the frame on. The replies are noted first: the server may be
// quick.
func (s *session) send(frame []byte, replies ...expected) error {
	for _, st := range s.queue.push(append(s.unitOwed, replies...)...) {
		s.proxy.note(st, func(seen *Seen) { seen.Skipped = true })
	}
	_, err := s.toServer.Write(s.unit)
	if err == nil {
		_, err = s.toServer.Write(frame)
	}
	s.unit, s.unitOwed = s.unit[:0], s.unitOwed[:0]
	return err
}

// own makes the unit's messages the statement's, so that their errors and their replies
// are its own.
func (s *session) own(st *statement, a *act) {
	for i := range s.unitOwed {
		s.unitOwed[i].statement, s.unitOwed[i].act = st, a
	}
}

// execute passes a statement on, through the faults that are due at it.
func (s *session) execute(kind byte, sql text, frame []byte) error {
	st := s.proxy.see(s, sql)
	candidates := s.proxy.candidates(st)
	if len(candidates) == 0 {
		s.own(st, nil)
		return s.send(frame, expected{kind: kind, statement: st})
	}
	frame = append([]byte(nil), frame...) // settling and peeking read on
	if err := s.settle(); err != nil {
		return err
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
func (s *session) before(f *Fault, kind byte, st *statement) (replaced bool, err error) {
	switch f.effect.kind {
	case holdBefore:
		return false, f.hold(s)
	case dropBefore:
		if !f.effect.leaveServer {
			s.proxy.gone(s)
		}
		f.fire()
		s.cutFor(f, f.effect)
		return true, errStopped
	case fatalBefore:
		s.proxy.gone(s)
		s.proxy.note(st, func(seen *Seen) { seen.SQLState = f.effect.code })
		f.fire()
		s.say(errorResponse("FATAL", f.effect.code, injected))
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
func (s *session) executeWith(f *Fault, kind byte, st *statement, frame []byte) error {
	a := &act{fault: f, effect: f.effect, done: make(chan struct{})}
	reply := expected{kind: kind, statement: st, act: a}
	if !a.effect.stopsAfter() {
		s.own(st, nil)
		return s.send(frame, reply)
	}
	s.own(st, a)
	tail := flushFrame
	replies := []expected{reply}
	if a.synced = kind == kindQuery; !a.synced {
		next, size, err := s.in.header()
		if err != nil {
			return err
		}
		if a.synced = next == kindSync; a.synced {
			if tail, err = s.in.take(size); err != nil {
				return err
			}
			replies = append(replies, expected{kind: kindSync, act: a})
		}
	}
	if err := s.send(append(frame, tail...), replies...); err != nil {
		return err
	}
	if err := s.toServer.Flush(); err != nil {
		return err
	}
	if err := s.await(a.done); err != nil || s.left.Load() {
		return errStopped
	}
	return nil
}
