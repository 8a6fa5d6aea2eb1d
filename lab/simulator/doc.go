// Package simulator is a card processor for dev and tests. It speaks the part of Stripe's
// v1 wire format that card payments need, so that one adapter serves both.
//
// A request runs in these steps:
//
//  1. The drawn fault of the step, if there is one (faults.go).
//  2. The claim of its Idempotency-Key (idempotency.go).
//  3. The fault of its payment method, once for each intent (cards.go).
//  4. One transaction of the books: the effect, its events, and the answer under the key.
//  5. The answer, or a fault that loses or damages it (damage.go).
//
// The books are one bbolt file. A kill between any two steps leaves them consistent: an
// effect without its stored answer and its events cannot be in them. Every execution that
// takes money writes a row of its own (taking), so that a double charge would show.
//
// Beside the API there are pages for tests: GET /books, GET and POST /faults, POST
// /webhook, and POST /dashboard/…, which acts as a person at the processor's dashboard.
package simulator
