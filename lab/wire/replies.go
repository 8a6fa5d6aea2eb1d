package wire

import (
	"fmt"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Types of replies that the proxy has to tell apart; see completes for the others.
const (
	replyComplete  = 'C'
	replyEmpty     = 'I'
	replySuspended = 's'
	replyError     = 'E'
	replyReady     = 'Z'
)

// passReplies reads the server's messages until it closes or the session is cut.
func (s *session) passReplies() error {
	for {
		message, err := s.replies.Receive()
		if err != nil {
			return fmt.Errorf("reading from server: %w", err)
		}
		if err := s.reply(message); err != nil {
			return err
		}
	}
}

// reply passes one message on, or lets a fault act on it, and then notes that it is no
// longer owed.
func (s *session) reply(message pgproto3.BackendMessage) error {
	head := s.queue.head()
	if err := s.record(message, head.statement); err != nil {
		return err
	}
	frame := encode(message)
	kind, frame := s.edit(frame[0], frame, head)
	if err := s.deliver(kind, frame, head); err != nil {
		return err
	}
	switch kind {
	case replyReady:
		s.queue.ready(message.(*pgproto3.ReadyForQuery).TxStatus)
	case replyError:
		for _, st := range s.queue.failed() {
			s.proxy.note(st, skipped)
		}
	default:
		s.queue.answered(kind)
	}
	if head.act.stops() && head.act.endsAt(kind) {
		close(head.act.done)
	}
	return nil
}

// record keeps what the proxy must know: the outcome, for the log, and how to read the
// client's password.
func (s *session) record(message pgproto3.BackendMessage, st *Seen) error {
	switch m := message.(type) {
	case pgproto3.AuthenticationResponseMessage:
		return s.requests.SetAuthType(s.replies.GetAuthType())
	case *pgproto3.BackendKeyData:
		s.backendPID.Store(m.ProcessID)
	case *pgproto3.CommandComplete:
		s.proxy.note(st, string(m.CommandTag))
	case *pgproto3.ErrorResponse:
		s.proxy.note(st, "error "+m.Code)
	}
	return nil
}

// edit changes a success on its way to the client.
func (s *session) edit(kind byte, frame []byte, head expected) (byte, []byte) {
	if head.act == nil || kind != replyComplete {
		return kind, frame
	}
	f := head.act.fault
	switch f.effect.kind {
	case retag:
		f.fire()
		return kind, encode(&pgproto3.CommandComplete{CommandTag: []byte(f.effect.code)})
	case warn:
		f.fire()
		notice := encode(&pgproto3.NoticeResponse{
			Severity: "WARNING", SeverityUnlocalized: "WARNING",
			Code: f.effect.code, Message: f.effect.message,
		})
		return kind, append(notice, frame...)
	case failInstead: // of COMMIT: this is the tag of the ROLLBACK in its place
		s.proxy.note(head.statement, "error "+f.effect.code)
		return replyError, errorResponse("ERROR", f.effect.code)
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
	if !head.act.stops() {
		return s.writeClient(frame)
	}
	s.withheld = append(s.withheld, frame...)
	if !head.act.endsAt(kind) {
		return nil
	}
	frames := s.withheld
	s.withheld = nil
	return s.stop(head.act.fault, frames)
}

// stop makes the fault happen to a reply that has come as a whole.
func (s *session) stop(f *Fault, frames []byte) error {
	if f.effect.kind == holdAfter {
		if err := f.hold(s); err != nil {
			return err
		}
		return s.writeClient(frames)
	}
	s.proxy.gone(s)
	f.fire()
	switch f.effect.kind {
	case loseReply:
		s.reset()
	case fatalAfter:
		s.say(errorResponse("FATAL", f.effect.code))
	default: // cutBeforeReady, cutAfter
		s.say(frames)
	}
	return errStopped
}
