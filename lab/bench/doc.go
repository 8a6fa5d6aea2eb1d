// Package bench measures the cost of a charge: paymentsvc over HTTP, beside pgbench
// doing the same writes.
//
// A rate depends on the machine as much as on the program. So all contenders run on one
// durable Postgres server, in alternating rounds. Each round measures every contender
// once, for a few seconds. A ratio compares two rates of the same round.
//
// The contenders are:
//
//   - paymentsvc: the real program, started as `paymentsvc serve`. This process sends it
//     charges over kept HTTP connections. Every charge has a new Idempotency-Key, and
//     every answer is checked.
//   - pgbench, Postgres's own benchmark: the same rows in the same tables, with the same
//     constraints and triggers, in one transaction for each charge (pgbench.sql). It has
//     no HTTP, no JSON and no retries. It shows the most that a program with one
//     transaction for each charge can get from Postgres.
//   - examples/onefile, if its program is given: one transaction for each charge, over
//     HTTP.
//
// With several merchants, paymentsvc and pgbench choose one at random for each charge.
// Then, and in sharded mode, a quiet merchant sends a charge from time to time beside the
// load of paymentsvc. Its latency shows what a busy neighbour costs it.
//
// Afterwards the books must be in order, and they must hold exactly the charges that
// were answered. A benchmark that loses or doubles a charge is void.
//
// Postgres, the service and the load generator are separate processes, so the CPU time
// of each is known. They share the cores of one machine, as in a small installation.
package bench
