package wire

import "sync"

// Kinds of expected replies: the type bytes of the requests that cause them.
const (
	kindParse    = 'P'
	kindBind     = 'B'
	kindDescribe = 'D'
	kindClose    = 'C'
	kindExecute  = 'E'
	kindSync     = 'S'
	kindQuery    = 'Q'
)

// expected is a reply that the server owes for a message it was sent.
type expected struct {
	kind      byte
	statement *Seen // whose messages these are; nil for a bare Parse or Sync
	act       *act  // the fault that acts on the reply
	hidden    bool  // the proxy sent the message, so the client must not see the reply
	tx        int   // the client's transaction when it was pushed
}

// act is a fault on its way through the queue.
type act struct {
	fault  *Fault
	synced bool          // the reply ends with the ReadyForQuery of the Sync sent with it
	done   chan struct{} // closed when the fault has happened and the session may go on
}

// stops says whether the fault stops the session at the reply.
func (a *act) stops() bool { return a != nil && a.fault.effect.stopsAfter() }

// endsAt says whether the fault happens at this message of the reply.
func (a *act) endsAt(reply byte) bool {
	if a.synced && a.fault.effect.kind != cutBeforeReady {
		return reply == replyReady
	}
	return reply == replyError || completes(reply, kindExecute)
}

// queue keeps the replies that the server owes, in order. So it knows the statement of
// each reply. The requests goroutine pushes before it sends. The replies goroutine pops
// after it has passed a reply on, so an empty queue means that the client has every reply.
type queue struct {
	mu       sync.Mutex
	owed     []expected
	skipping bool          // the server ignores what comes until Sync
	txStatus byte          // of the last ReadyForQuery
	position position      // in the client's transaction
	idle     chan struct{} // closed when owed becomes empty; nil without a waiter
}

// push notes replies that will come, and returns the statements that the server will
// ignore.
func (q *queue) push(replies ...expected) (skipped []*Seen) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range replies {
		if q.skipping && e.kind != kindSync {
			if e.kind == kindExecute {
				skipped = append(skipped, e.statement)
			}
			continue
		}
		q.skipping = false
		e.tx = q.position.tx
		q.owed = append(q.owed, e)
	}
	return skipped
}

func (q *queue) head() expected {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.owed) == 0 {
		return expected{}
	}
	return q.owed[0]
}

// answered takes the head out if a message of that type completes its reply.
func (q *queue) answered(reply byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.owed) > 0 && completes(reply, q.owed[0].kind) {
		q.drop(1)
	}
}

// ready notes the transaction status of a ReadyForQuery. An idle server means that the
// client has no transaction, unless the client has already sent another BEGIN.
func (q *queue) ready(status byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.txStatus = status
	if len(q.owed) == 0 || !completes(replyReady, q.owed[0].kind) {
		return // the one that ends the startup
	}
	if status == 'I' && len(q.owed) == 1 && q.owed[0].tx == q.position.tx {
		q.position.open = false
	}
	q.drop(1)
}

// failed takes out everything that an error makes the server skip: all up to the next
// Sync, sent already or not. An error of a simple Query, of Sync itself (a deferred
// constraint) or of no statement (FATAL) skips nothing.
func (q *queue) failed() (skipped []*Seen) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.owed) == 0 || q.owed[0].kind == kindQuery || q.owed[0].kind == kindSync {
		return nil
	}
	culprit := q.owed[0].statement
	n := 0
	for ; n < len(q.owed) && q.owed[n].kind != kindSync; n++ {
		if e := q.owed[n]; e.kind == kindExecute && e.statement != culprit {
			skipped = append(skipped, e.statement)
		}
	}
	q.skipping = n == len(q.owed)
	q.drop(n)
	return skipped
}

// drop takes out n replies. The caller holds mu.
func (q *queue) drop(n int) {
	q.owed = append(q.owed[:0], q.owed[n:]...)
	if len(q.owed) == 0 && q.idle != nil {
		close(q.idle)
		q.idle = nil
	}
}

// emptied returns a channel that is closed when nothing is owed, or nil if nothing is.
// One caller at a time.
func (q *queue) emptied() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.owed) == 0 {
		return nil
	}
	q.idle = make(chan struct{})
	return q.idle
}

func (q *queue) state() (skipping bool, txStatus byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.skipping, q.txStatus
}

func (q *queue) place(t text) (tx, step int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.position.next(t)
}

// completes says whether the reply is the last one to a message of that kind.
// ErrorResponse is not here: see failed.
func completes(reply, kind byte) bool {
	switch kind {
	case kindParse:
		return reply == '1'
	case kindBind:
		return reply == '2'
	case kindClose:
		return reply == '3'
	case kindDescribe:
		return reply == 'T' || reply == 'n' // a statement's ParameterDescription comes before them
	case kindExecute:
		return reply == replyComplete || reply == replyEmpty || reply == replySuspended
	default:
		return reply == replyReady
	}
}
