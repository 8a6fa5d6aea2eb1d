// Package cards charges cards exactly once, at a processor that fails.
//
// The money of a card moves at the processor, over a network, outside of our
// transaction. So a charge by card has four steps, and each is committed before the next
// one begins:
//
//	begin    package payments claims the key, makes the payment as processing, and an
//	         attempt: the row that says that the processor is asked
//	prepare  creates an intent at the processor, which moves no money; its id is committed
//	confirm  asks for the charge, by that id
//	settle   package payments writes the processor's word: entries, event, stored answer
//
// A capture, a cancellation and a refund begin and settle in the same way, with one call
// between.
//
// # Why a card is charged once
//
// The processor's own idempotency keys are not enough: it forgets them, and it repeats a
// stored 500. But an intent can succeed only once. So a lost answer is never guessed: the
// attempt is asked for again by the intent's id. Retrieving comes first, and confirming
// twice charges once.
//
// A call has three outcomes: done, not done, unknown (see package stripe). An unknown
// outcome leaves the attempt open, and the payment processing.
//
// A decline needs more care, because a stalled instance may confirm late. So a payment is
// declined only when its intent can no longer succeed: it is canceled first, and read
// back as canceled. If it reads as succeeded, then that is settled.
//
// A refund has no id that could be committed before the call. So it is looked for among the
// refunds of its intent before each call, and every call has the same key. When the
// processor may have forgotten that key, a person has to look.
//
// # Events of the processor
//
// The processor tells about changes by events, which come twice, late, early and out of
// order (inbox.go). An event never makes a call. One about a final state settles the
// attempt, under the event's id, as an answer of the processor would. Any other one makes
// the attempt due. So an event that is lost costs time, and nothing else.
//
// # Why nothing stays open
//
// An instance works on an attempt under a lease. The lease ends by the database's clock,
// and then any instance may take the attempt over. Each lease has a fencing token: what an
// instance writes after its lease was taken over has no effect. Attempts that no rule can
// decide wait for a person (review).
package cards
