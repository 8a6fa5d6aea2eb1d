// Package idempotency decides whether a request is new.
//
// The scheme is one unique constraint. A request claims its [Key] by inserting a row
// into idempotency_keys, inside the transaction that has its effect. The primary key
// (merchant_id, scope, key) lets one transaction have that row. So the claim, the
// effect and the stored [Answer] commit together or not at all. No crash leaves a key
// that is taken but not answered, or a charge whose key is free.
//
// One kind of request is answered later: its effect is at a card processor. The
// transaction that claims its key marks it as pending, and the one that stores the answer
// takes the mark away. So a key without an answer is pending, or its answer has expired.
//
// A request whose key is taken is compared with the row's [Fingerprint]. The same
// request gets the stored answer, byte for byte. Another request is refused. A request
// that comes while the first is still running waits inside its own INSERT: that is how
// Postgres checks a unique constraint against an unfinished transaction.
//
// Keys are kept for ever, answers for a retention. A late retry then learns that its
// key was used and for which payment, and is never executed again.
//
// The wire format follows draft-ietf-httpapi-idempotency-key-header-07.
package idempotency
