package wire

// Effect is the fault at a statement.
type Effect struct {
	name    string
	kind    effectKind
	code    string // SQLSTATE, or the tag of Retag
	message string
}

type effectKind int

const (
	holdBefore effectKind = iota + 1
	dropBefore
	failInstead
	fatalBefore
	rollbackInstead

	firstAfter // later kinds act on the reply of an executed statement

	holdAfter
	loseReply
	cutBeforeReady
	cutAfter
	fatalAfter

	firstEdit // later kinds change the reply and stop nothing

	retag
	warn
)

// Effects before the server receives the statement.
var (
	// HoldBefore keeps the statement back until Fault.Release or Fault.Cut. The client
	// may leave meanwhile. A released statement still reaches the server, like a packet
	// that was under way.
	HoldBefore = Effect{name: "hold before", kind: holdBefore}
	// DropBefore loses the statement: both connections are reset.
	DropBefore = Effect{name: "drop before", kind: dropBefore}
	// RollBackInstead makes the server roll back where the client said COMMIT, and say so
	// in its tag. It passes by all other statements.
	RollBackInstead = Effect{name: "roll back instead", kind: rollbackInstead}
)

// Effects after the server executed the statement, and nothing after it.
var (
	// HoldAfter keeps the reply back, and all else in both directions, until
	// Fault.Release or Fault.Cut. Neither side learns that the other one has left, so an
	// unreleased hold is a half-open connection.
	HoldAfter = Effect{name: "hold after", kind: holdAfter}
	// LoseReply resets both connections when the reply arrives, and the client sees
	// nothing of it.
	LoseReply = Effect{name: "lose reply", kind: loseReply}
	// CutBeforeReady lets the client read the command tag and closes before
	// ReadyForQuery.
	CutBeforeReady = Effect{name: "cut before ready", kind: cutBeforeReady}
	// CutAfter lets the client read the whole reply and closes.
	CutAfter = Effect{name: "cut after", kind: cutAfter}
	// SyncRepCancelled is Postgres's reply when a wait for its synchronous standby is
	// cancelled: a WARNING, then success.
	SyncRepCancelled = Warn("01000",
		"canceling wait for synchronous replication due to user request")
)

// FailWith makes the server raise that SQLSTATE in place of the statement. In place of
// COMMIT, the server rolls back and the client gets the error. It passes by a statement
// of a transaction that has failed already.
func FailWith(sqlstate string) Effect {
	return Effect{name: "fail with " + sqlstate, kind: failInstead, code: sqlstate}
}

// FatalBefore tells the client FATAL and closes; the statement never reaches the
// server.
func FatalBefore(sqlstate string) Effect {
	return Effect{name: "fatal before " + sqlstate, kind: fatalBefore, code: sqlstate}
}

// FatalAfter tells the client FATAL and closes although the server executed the
// statement. A backend that is terminated (57P01) after it made a commit durable, and
// before its reply, does the same.
func FatalAfter(sqlstate string) Effect {
	return Effect{name: "fatal after " + sqlstate, kind: fatalAfter, code: sqlstate}
}

// Retag replaces the command tag of a statement that the server executed: it lies.
func Retag(tag string) Effect {
	return Effect{name: "retag " + tag, kind: retag, code: tag}
}

// Warn puts a NoticeResponse of severity WARNING before the success.
func Warn(sqlstate, message string) Effect {
	return Effect{name: "warn " + sqlstate, kind: warn, code: sqlstate, message: message}
}

func (e Effect) actsBefore() bool { return e.kind < firstAfter }

// applies says whether the effect leaves a possible state. A failed transaction raises
// its own error and not that of FailWith. A ROLLBACK in place of another statement would
// let a later COMMIT succeed.
func (e Effect) applies(t text, txStatus byte) bool {
	switch e.kind {
	case failInstead:
		return txStatus != 'E'
	case rollbackInstead:
		return t.commits()
	default:
		return true
	}
}

func (e Effect) stopsAfter() bool { return e.kind > firstAfter && e.kind < firstEdit }
