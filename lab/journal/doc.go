// Package journal holds the service to what it told its clients. What is promised is promised to
// clients, so clients judge it. A [Journal] is many of them: it charges, captures, cancels and
// refunds under load, sends the same key again when it does not know, sometimes sends it again although it does, and writes
// down each try and what came back. It knows three classes of outcome and no more:
//
//   - ack: 2xx. It is done.
//   - refusal: 4xx other than 409 and 429. It is not; for a 402 it never will be under that key.
//   - unknown: everything else, also "no answer". The same key must be safe, and find out.
//
// When the faults are over, Converge sends every key once more, and Judge holds the journal against the database. The
// audit (see package audit) asks whether the books agree with themselves; only the journal can tell whether they agree
// with what callers were told: a charge that was acknowledged and lost leaves books that are in perfect order.
package journal
