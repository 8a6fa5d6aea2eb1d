// Package payments charges exactly once.
//
// # One charge, word by word
//
// A request arrives under an idempotency key. It becomes an [operation]: one change of
// money, with what it claims, what it locks, and how it decides. Operations that wait
// at the same moment share one Postgres transaction (group commit), which has five
// steps (transact.go):
//
//	1 claim   INSERT … ON CONFLICT DO NOTHING of each key; references likewise
//	2 lock    payments, then accounts: ORDER BY … FOR NO KEY UPDATE; then read the clock
//	3 decide  pure functions, no I/O
//	4 write   payments, entries, balances, events, answers
//	5 COMMIT  and only then are the callers told
//
// An operation that got its key comes to a [decision]. The decision is a payment, a
// decline or a refusal. A refusal is a "no" that leaves no trace (there is no such
// account, the reference is taken): the claim is taken back in the same transaction,
// and the key stays free. A decline is a "no" that is stored (the source cannot pay): a
// retry must not succeed behind the back of a caller who was told no.
//
// A payment and a decline have an answer: status, headers and bytes, as stored. A key
// stands for a record: the fingerprint of its request, the payment, and the answer if
// it is still kept. An operation whose key is taken gets that record. A [Reply] is an
// answer on its way to one caller, fresh or replayed.
//
// # Why a retry cannot charge twice
//
// Claiming a key inserts a row whose primary key is (merchant, scope, key), in the
// transaction that charges. Postgres lets one transaction have that row. A retry that
// comes later finds the row, and the answer beside it. A retry at the same moment, here
// or on another instance, waits inside its INSERT until the first transaction has
// ended. Then it finds the row or, if the first was rolled back, becomes the first.
//
// A crash changes nothing about this: the claim, the payment, its entries, the
// balances, the event and the answer are one transaction.
//
// A lost acknowledgement of COMMIT changes nothing either. The service then does not
// know whether it has charged. It runs the same operations under the same keys again.
// If the COMMIT took effect, the claims are found with the ids of these very requests,
// and the answers are read back. If it did not, this run charges. See
// postgres.Committer.
//
// # Where to read on
//
// charge.go has the request, its checks, its fingerprint and its decision, in this
// order. service.go hands the operation to the group commit and turns a record into a
// reply. transact.go has the five steps. capture.go, cancel.go, expire.go and refund.go
// are the other operations: they lock the row of their payment, and decide something
// else. The SQL of each step stands in its own package.
package payments
