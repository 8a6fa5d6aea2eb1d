// Package wire makes Postgres fail at an exact statement, for real, under a real
// client.
//
// A Proxy stands between a client (pgx) and a Postgres. It follows the extended
// protocol closely enough to know the SQL text of every statement that is executed,
// also in a pipeline, and which reply belongs to which statement. A test says where
// something breaks and how, and then checks the truth on a connection of its own, past
// the proxy:
//
//	proxy := wire.Start(t, db.URL)
//	lost := proxy.On(wire.Commit(), wire.LoseReply)
//	// … a charge through proxy.URL() …
//	lost.Wait(t)
//
// # Both sides are told the truth, or one of them is told nothing
//
// A fault must leave client and server in states that could have come about without a
// proxy, or a test proves nothing.
//
//   - Before a fault acts on a statement, the proxy sends a Flush and waits for the replies of everything before it. So
//     the server has executed all statements before it, and an error among them (which makes the server skip the rest,
//     up to Sync) means that this statement is not executed: the fault then neither fires nor counts.
//   - The messages of a statement (Parse, Bind, Describe, Execute) are kept back until its Execute has come, so a
//     statement that is held or dropped has left no trace at the server, not even a table lock of its Bind. (A client
//     that prepares in a round trip of its own, as pgx does the first time, has sent its Parse before.)
//   - A fault after a statement sends the server that statement followed by its own Sync if that is what the client sent
//     next, and by a Flush otherwise, and nothing more. "Cut after statement k" leaves statements 0 to k executed.
//   - An injected error is raised by the server: the statement is replaced by a DO block that raises the SQLSTATE, so the
//     server itself fails the transaction, skips what follows up to Sync and reports its status. COMMIT is different: one
//     that fails ends the transaction (ReadyForQuery says idle), which a DO block cannot do. The server gets a ROLLBACK
//     instead, and the client the error in place of that command's tag.
//   - What is cut off without its reply is reset (RST). What is cut off after something that the client must still read
//     is closed in order (FIN), because a reset may overtake data that is under way.
//
// Only Retag lies, on purpose: it tells a client of a committed transaction that it was
// rolled back.
//
// # How it is built
//
// Each connection is a session with two goroutines: requests.go reads the client,
// replies.go reads the server. Between them is a queue of the replies that the server
// owes (queue.go). Frames are passed on as the bytes that came; only those that the
// proxy must understand are decoded, with pgproto3, so rows cost a copy and nothing
// else.
package wire
