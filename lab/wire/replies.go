package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Types of replies that the proxy has to tell apart; see queue.completes for the
// others.
const (
	replyComplete   = 'C'
	replyEmpty      = 'I'
	replySuspended  = 's'
	replyError      = 'E'
	replyNotice     = 'N'
	replyReady      = 'Z'
	replyBackendKey = 'K'
	replyRow        = 'D'
	replyCopyData   = 'd'
)

// passReplies reads what the server sends until it closes or the session is cut.
func (s *session) passReplies() error {
	for {
		if s.replies.Buffered() == 0 {
			if err := s.flushClient(); err != nil {
				return err
			}
		}
		kind, size, err := s.replies.header()
		if err != nil {
			_ = s.flushClient() // the server's last words, usually FATAL
			return err
		}
		head := s.queue.head()
		if (kind == replyRow || kind == replyCopyData) && head.act == nil {
			if err := s.streamRow(size); err != nil {
				return err
			}
			continue
		}
		frame, err := s.replies.take(size)
		if err != nil {
			return err
		}
		if err := s.reply(kind, frame, head); err != nil {
			return err
		}
	}
}

func (s *session) flushClient() error {
	s.clientMu.Lock()
	defer s.clientMu.Unlock()
	return s.toClient.Flush()
}

func (s *session) streamRow(size int) error {
	s.clientMu.Lock()
	defer s.clientMu.Unlock()
	return s.replies.stream(s.toClient, size)
}

func (s *session) writeClient(frames []byte) error {
	s.clientMu.Lock()
	defer s.clientMu.Unlock()
	_, err := s.toClient.Write(frames)
	return err
}

// reply passes one message on, or does with it what a fault says, and then notes that
// it is no longer owed.
func (s *session) reply(kind byte, frame []byte, head expected) error {
	if err := s.record(kind, frame, head); err != nil {
		return err
	}
	kind, frame = edit(kind, frame, head)
	if err := s.deliver(kind, frame, head); err != nil {
		return err
	}
	switch kind {
	case replyReady:
		s.queue.ready(frame[headerSize])
	case replyError:
		for _, st := range s.queue.failed() {
			s.proxy.note(st, func(seen *Seen) { seen.Skipped = true })
		}
	default:
		s.queue.answered(kind)
	}
	if head.act != nil && head.act.effect.stopsAfter() && head.act.endsAt(kind) {
		close(head.act.done)
	}
	return nil
}

// record keeps the outcome for the log, as the server said it.
func (s *session) record(kind byte, frame []byte, head expected) error {
	switch kind {
	case replyBackendKey:
		s.backendPID.Store(binary.BigEndian.Uint32(frame[headerSize:]))
	case replyComplete:
		var message pgproto3.CommandComplete
		if err := message.Decode(frame[headerSize:]); err != nil {
			return fmt.Errorf("decoding CommandComplete: %w", err)
		}
		s.proxy.note(head.statement, func(seen *Seen) { seen.Tag = string(message.CommandTag) })
	case replyError, replyNotice:
		var message pgproto3.ErrorResponse // a NoticeResponse has the same fields
		if err := message.Decode(frame[headerSize:]); err != nil {
			return fmt.Errorf("decoding ErrorResponse: %w", err)
		}
		s.proxy.note(head.statement, func(seen *Seen) {
			if kind == replyError {
				seen.SQLState = message.Code
				return
			}
			seen.Warnings = append(seen.Warnings, message.Code+": "+message.Message)
		})
	}
	return nil
}

// edit changes what a success looks like to the client.
func edit(kind byte, frame []byte, head expected) (byte, []byte) {
	if head.act == nil || kind != replyComplete {
		return kind, frame
	}
	effect := head.act.effect
	switch effect.kind {
	case retag:
		head.act.fault.fire()
		return kind, encode(&pgproto3.CommandComplete{CommandTag: []byte(effect.code)})
	case warn:
		head.act.fault.fire()
		notice := encode(&pgproto3.NoticeResponse{
			Severity: "WARNING", SeverityUnlocalized: "WARNING", Code: effect.code,
			Message: effect.message,
		})
		return kind, append(notice, frame...)
	case failInstead: // of COMMIT: this is the tag of the ROLLBACK in its place
		return replyError, errorResponse("ERROR", effect.code, injected)
	default:
		return kind, frame
	}
}

// deliver writes to the client, unless a fault withholds the reply until the end of it
// and then decides.
func (s *session) deliver(kind byte, frame []byte, head expected) error {
	if head.hidden && completes(kind, head.kind) {
		return nil
	}
	if head.act == nil || !head.act.effect.stopsAfter() {
		return s.writeClient(frame)
	}
	s.withheld = append(s.withheld, frame...)
	if !head.act.endsAt(kind) {
		return nil
	}
	frames := s.withheld
	s.withheld = nil
	return s.stop(head.act, frames)
}

// endsAt says whether a fault that stops the session does so at this message.
func (a *act) endsAt(reply byte) bool {
	answered := reply == replyComplete || reply == replyEmpty || reply == replySuspended ||
		reply == replyError
	if a.effect.kind == cutBeforeReady {
		return answered
	}
	if a.synced {
		return reply == replyReady
	}
	return answered
}

// stop makes the fault happen to a reply that has come as a whole.
func (s *session) stop(a *act, frames []byte) error {
	f := a.fault
	if a.effect.kind == holdAfter {
		if err := f.hold(s); err != nil {
			return err
		}
		return s.writeClient(frames)
	}
	if !a.effect.leaveServer {
		s.proxy.gone(s)
	}
	f.fire()
	switch a.effect.kind {
	case loseReply:
		s.cutFor(f, a.effect)
	case fatalAfter:
		s.say(errorResponse("FATAL", a.effect.code, injected))
	default: // cutBeforeReady, cutAfter
		s.say(frames)
	}
	if a.effect.leaveServer {
		return nil // go on reading, so that the server's end is noticed
	}
	return errStopped
}
