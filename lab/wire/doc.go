// Package wire makes Postgres fail at an exact statement, for real, under a real
// client.
//
// A Proxy stands between a client (pgx) and a Postgres. It follows the extended
// protocol closely enough to know the SQL text of every statement that is executed,
// also in a pipeline, and which reply belongs to which statement. A test says where
// something breaks and how. Then it reads the committed rows on a connection of its own,
// past the proxy:
//
//	proxy := wire.Start(t, db.URL)
//	lost := proxy.On(wire.Commit(), wire.LoseReply)
//	// … a charge through proxy.URL() …
//	lost.Wait(t)
//
// # A fault leaves a possible state
//
// A fault must leave client and server in states that could have come about without a
// proxy, or a test proves nothing.
//
//   - Before a fault acts on a statement, the proxy sends a Flush and waits for all
//     earlier replies. So the server has executed all earlier statements. After an error
//     among them, the server skips this statement: the fault neither fires nor counts.
//   - The messages of a statement (Parse, Bind, Describe, Execute) are kept back until
//     its Execute has come. So a held or dropped statement leaves no trace at the server,
//     not even a table lock of its Bind. (A client that prepares in a round trip of its
//     own, as pgx does the first time, has sent its Parse before.)
//   - A fault after a statement sends the server that statement and nothing more. Its own
//     Sync follows if the client sent one next, and a Flush otherwise. "Cut after
//     statement k" leaves statements 0 to k executed.
//   - An injected error is raised by the server: a DO block that raises the SQLSTATE takes
//     the statement's place. So the server itself fails the transaction, skips up to Sync
//     and reports its status. A COMMIT that fails ends the transaction (ReadyForQuery says
//     idle), which a DO block cannot do. So the server gets a ROLLBACK instead, and the
//     client the error in place of that command's tag.
//   - A connection that is cut without its reply is reset (RST). A connection with data
//     that the client must still read is closed in order (FIN), because a reset may
//     overtake the data.
//
// Only Retag lies, on purpose: it tells a client of a committed transaction that it was
// rolled back.
//
// # Structure
//
// Each connection is a session with two goroutines: requests.go reads the client,
// replies.go reads the server. Between them is a queue of the replies that the server
// owes (queue.go). pgproto3 decodes and encodes the messages.
package wire
