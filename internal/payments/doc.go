// Package payments charges exactly once.
//
// # One charge, word by word
//
// A request arrives under an idempotency key. It becomes an [operation]: one change of
// money, the rows that it claims and locks, and the function that decides it.
// Operations that wait at the same moment form a batch and share one Postgres
// transaction (group commit). The transaction has five steps (transact.go):
//
//	1 claim   each key: INSERT … ON CONFLICT DO NOTHING; references likewise
//	2 lock    payments, then accounts: ORDER BY … FOR NO KEY UPDATE; then read the clock
//	3 decide  pure functions, no I/O
//	4 write   payments, entries, balances, events, answers
//	5 COMMIT  and only then are the callers told
//
// An operation that got its key comes to a [decision] on the [state], which is the
// locked rows in memory. The decision is a payment, a decline or a refusal:
//   - A refusal is a "no" that is not stored, for example: there is no such account. The
//     claim is taken back in the same transaction, so the key is free again. (A key that
//     belongs to another request is refused too, and stays as it was.)
//   - A decline is a "no" that is stored and replayed: the source cannot pay. Otherwise a
//     retry could succeed after the caller was told no.
//
// An operation is blocked if another session holds a row that it needs. It comes to no
// decision, gives its key back, and tries again when the row is free (busy.go).
//
// A payment and a decline have an answer: status, headers and bytes, as stored. A taken
// key stands for a record: the fingerprint of its request, the payment, and the answer
// while it is kept. An operation whose key is taken gets that record. A [Reply] is an
// answer on its way to one caller, fresh or replayed.
//
// An account's money that an authorized payment sets aside is held. A reference is the
// caller's own name for a payment. A payment is live while it has moved money or may
// still do so, and keeps its reference for that time.
//
// # Why a retry cannot charge twice
//
// Claiming a key inserts a row whose primary key is (merchant, scope, key), in the
// transaction that charges. Postgres lets one transaction have that row. A retry that
// comes later finds the row, and the answer beside it. A retry on another instance at
// the same moment waits inside its INSERT until the first transaction has ended. Then
// it finds the row or, if the first was rolled back, becomes the first. On the same
// instance, requests that are queued under one key share one operation.
//
// A crash changes nothing about this: the claim, the payment, its entries, the
// balances, the event and the answer are one transaction.
//
// A lost acknowledgement of COMMIT changes nothing either. The service then does not
// know whether it has charged. It runs the same operations under the same keys again.
// If the COMMIT took effect, the keys are taken, and the answers are read back. (A
// record names the request that took its key. An answer to that very request is not
// called a replay.) If the COMMIT did not take effect, this run charges. See
// postgres.Committer.
//
// # A payment by card
//
// The money of a card moves at a processor, outside of the transaction. So the request
// is two operations of the same five steps. The first one begins an attempt: it claims
// the key, and marks it as pending. Then package cards asks the processor. The second
// one settles the attempt: under a key of its own, it writes the processor's result,
// stores the answer of the first request, and removes the mark. A retry that comes
// between them finds a pending record, and nothing to replay. See card.go, attempt.go
// and settle.go.
//
// # Where to read on
//
// charge.go has the request, its checks, its fingerprint and its decision. operation.go
// has the operation and the state. service.go hands the operation to the group commit
// and turns a record into a reply. transact.go has the five steps, and busy.go keeps
// rows that another session holds from stalling them. references.go has the names that
// are claimed beside the keys, and answer.go the answers. capture.go, cancel.go,
// expire.go and refund.go are the other operations: they lock the row of their payment,
// and decide something else.
package payments
