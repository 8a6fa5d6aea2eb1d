package wire

import (
	"fmt"

	"github.com/jackc/pgx/v5/pgproto3"
)

// injected is the message of every error of ours, so that nobody takes it for one of
// Postgres.
const injected = "injected by the wire proxy"

// fail puts an error in the statement's place that the server itself raises; see the
// package comment for COMMIT.
func (s *session) fail(f *Fault, kind byte, st *statement) error {
	if !st.text.commits() {
		f.fire()
		raise := fmt.Sprintf(
			"DO $wire$ BEGIN RAISE EXCEPTION USING ERRCODE = '%s', MESSAGE = '%s'; END $wire$",
			f.effect.code, injected)
		return s.substitute(kind, st, raise, nil)
	}
	s.proxy.note(st, func(seen *Seen) { seen.SQLState = f.effect.code })
	f.fire()
	refused := &act{fault: f, effect: f.effect, done: make(chan struct{})}
	s.discarding = kind == kindExecute
	return s.substitute(kind, st, "ROLLBACK", refused)
}

// substitute executes other SQL in the statement's place. The client's own Parse, Bind
// and Describe go to the server all the same, so that the client reads the replies that
// it waits for, and the names it gave exist. The Flush is for a client that does not
// send Sync before it has read the reply.
func (s *session) substitute(kind byte, st *statement, sql string, a *act) error {
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
