// Package cards charges cards exactly once, at a processor that fails.
//
// The money of a card moves at the processor, over a network, outside of our
// transaction. So a charge by card has four steps, and each is committed before the next
// one begins:
//
//	begin    package payments claims the key, makes the payment as processing, and
//	         inserts an attempt
//	prepare  creates an intent at the processor, which moves no money; its id is committed
//	confirm  asks for the charge, by that id
//	settle   package payments writes the result: entries, event, stored answer
//
// A capture, a cancellation and a refund begin and settle in the same way, with one call
// between.
//
// # The words
//
//	attempt     one keyed request whose effect is at the processor. It is a row, so it
//	            outlives the instance that works on it
//	intent      the processor's object for one payment: Stripe's PaymentIntent
//	lease       one instance works on an attempt until due_at, by the database's clock
//	token       the number of the lease: a write with an older one has no effect
//	            (fencing)
//	try         the work under one lease
//	generation  a part of the processor's key: it changes when the old key must not
//	            be sent again
//	review      no rule can decide: the attempt waits for a person
//
// # Why a card is charged once
//
// The processor's own idempotency keys are not enough: it forgets them, and it replays a
// stored 500. But an intent can succeed only once. So a lost answer is never guessed.
// The next try retrieves the intent by its id, and confirms it again if it is not
// confirmed. Two confirmations of one intent charge once.
//
// A call has three outcomes: done, not done, unknown (see package stripe). An unknown
// outcome leaves the attempt open, and the payment processing.
//
// A decline needs more care, because a stalled instance may confirm late. So a payment is
// declined only when its intent can no longer succeed: the intent is canceled, and then
// retrieved. If it is canceled, the payment is declined. If it has succeeded, so has the
// payment.
//
// A refund has no id that could be committed before the call. So each try first looks
// for the refund among the refunds of the intent. All calls have the same key. When the
// processor may have forgotten that key, a person has to decide.
//
// # Events of the processor
//
// The processor reports changes by events, which come twice, late, early and out of
// order (inbox.go). An event about a final state settles the attempt, under the event's
// id. Any other event makes the attempt due, so that an instance asks the processor. So
// a lost event costs time, and nothing else.
//
// # Why nothing stays open
//
// An instance works on an attempt under a lease. The lease ends by the database's clock,
// and then any instance may take the attempt over. What the first instance writes
// afterwards has no effect, because its token is old. Attempts that no rule can decide
// wait for a person.
package cards
