// Package webhooks tells merchants' receivers of events, as Standard Webhooks say.
//
// Three steps lead from an event to its receiver, and each may die at any moment:
//
//  1. The fan-out (fanout.go) is a consumer of the feed with a cursor for each merchant
//     that has endpoints. One transaction inserts the deliveries of a page of events and
//     moves the cursor. So no event is passed over, and a charge pays nothing.
//  2. A worker (lease.go) leases due deliveries and commits. A lease is a fencing token
//     and an end, by the database's clock.
//  3. The worker sends (send.go) without any transaction, and then marks the delivery if
//     its lease is still the last one. A worker that dies in between has marked nothing:
//     when its lease ends, another one sends again, under the same webhook-id.
//
// So each event reaches each receiver once or more. The receiver drops repetitions by
// webhook-id, which is the event's id.
//
// An event leaves the service only when a synchronous standby has it: the fan-out reads
// by [outbox.Feed], which waits for that, and only then inserts. What comes after may be
// lost in a crash without harm. A lost delivery comes back with the lost move of the
// cursor, and a lost mark is one more repetition. So none of these transactions waits
// for the disk.
//
// A receiver that hangs or fails harms nobody but itself (dispatch.go): only a few
// deliveries are under way for each endpoint, and one for an endpoint that fails.
//
// A URL comes from a merchant, so a request could be aimed at the service's own network.
// The guard (guard.go) looks at the address of each connection when it is opened.
package webhooks
