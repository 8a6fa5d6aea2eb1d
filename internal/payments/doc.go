// Package payments charges exactly once.
//
// Every change of money is an operation under an idempotency key. Operations that wait at the same moment share one
// Postgres transaction, and that transaction is the only place where money moves:
//
//	request ─► Service.Charge ─► groupcommit ─► transact ──────────────────────────────────────► Reply
//	                                            1 claim keys    INSERT … ON CONFLICT DO NOTHING; references likewise
//	                                            2 lock, load    payments, accounts: ORDER BY … FOR NO KEY UPDATE
//	                                            3 decide        pure functions, no I/O
//	                                            4 write         payments, entries, balances, events, answers
//	                                            5 COMMIT        then, and only then, the callers hear
//
// Why a retry cannot charge twice. A key is claimed by inserting a row whose primary key is (merchant, scope, key), in
// the transaction that charges. Postgres lets one transaction have that row. A retry that comes later finds it, with the
// answer that was stored beside it, and returns those bytes. A retry that comes at the same moment, here or on
// another instance, waits inside its INSERT until the first transaction has ended, and then either finds the row or,
// if the first was rolled back, becomes the first.
//
// Why a crash cannot either. The claim, the payment, its entries, the balances, the event and the answer are one
// transaction. There is no moment at which some of them are durable and others are not.
//
// Why a lost acknowledgement cannot either. If the connection dies while COMMIT is on its way, the service does not know
// whether it has charged. It does not guess: it runs the same operations, under the same keys, again. If the COMMIT
// took effect the claims are found, and they carry the ids of these very requests, so the answers are read back and given
// out as fresh; if it did not, this run charges. The same would happen if the caller retried; see postgres.Committer.
//
// What is refused (no such account, a reference that is taken) takes its claim back in the same transaction and leaves no
// trace, so the key can be used again once the cause is gone. What is declined (the source cannot pay) is an answer: it is
// stored, with its payment, and replayed.
//
// A charge is one operation; to capture, cancel and refund a payment, and to end an authorization whose time is over, are the
// others. They differ in what they decide and in nothing else. Those that change a payment lock its row first, and the row
// says which accounts come next, so a batch with one of them takes a round trip more.
//
// Reading order: charge.go (the request), operation.go (what it looks at), decide_charge.go (the rule), transaction.go (the
// five steps), service.go (who waits for what); states.go, change.go and decide_change.go (the rest of a payment's life); and
// then the packages idempotency, ledger, groupcommit and postgres, each of which opens with its scheme.
package payments
