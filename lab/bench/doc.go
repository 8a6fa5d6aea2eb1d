// Package bench measures what a charge costs: paymentsvc over HTTP, beside pgbench
// doing the same writes.
//
// A number of charges a second says little by itself: it is the machine's as much as
// the program's. So everything is measured side by side, on one durable Postgres server
// that is made for it, in rounds that alternate: each round measures every contender
// once for a few seconds, and ratios are taken within a round, where the machine was
// the same.
//
// The contenders are:
//
//   - paymentsvc: the real binary, started as `paymentsvc serve`, driven over HTTP on kept connections by another process,
//     the load generator. Every charge has a new Idempotency-Key, and every answer is checked.
//   - pgbench, Postgres's own benchmark: the same rows into the same tables, with the same constraints and triggers, one
//     transaction a charge (pgbench.sql). It has no HTTP, no JSON and no retries to care for, so it is what Postgres can do
//     for a program that runs a transaction a charge and costs nothing itself.
//   - examples/onefile, if it is there: a transaction a charge, over HTTP.
//
// Afterwards the books must be in order, and hold exactly the charges that were
// answered: a benchmark that loses or doubles a charge has measured nothing.
//
// The CPU time of Postgres, of the service and of the load generator can be told apart
// because they are separate processes. They share the machine's cores, as they would on
// one small machine in production.
package bench
