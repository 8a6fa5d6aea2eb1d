// Package journal compares what the service told its clients with its database. A [Journal]
// is many clients: under load it charges, captures, cancels and refunds, sends the same key
// again when the outcome is unknown and sometimes when it is known, and records each try and
// its answer. There are three classes of outcome:
//
//   - ack: 2xx. It is done.
//   - refusal: 4xx other than 409 and 429. It is not done. After a 402, that key is used up.
//   - unknown: everything else, also "no answer". The same key is safe, and finds out.
//
// When the faults are over, Converge sends every key once more, and Judge holds the
// journal against the database. Package audit checks that the books agree with themselves.
// Only the journal shows that they agree with the answers: the books are in order also when
// an acknowledged charge is lost.
package journal
