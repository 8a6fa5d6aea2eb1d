// Package client calls paymentsvc, and retries as a payment has to be retried: however
// often a request is sent, the money moves once.
//
//	payments, err := client.New(client.Options{URL: "https://payments.example.com", APIKey: os.Getenv("API_KEY")})
//	…
//	charge := client.Charge{Amount: 4999, Currency: "USD", SourceAccount: "alice", DestinationAccount: "shop"}
//	key := client.NewKey()
//	// store key and charge, with the order that they are for
//	payment, err := payments.Charge(ctx, key, charge)
//
// # The key comes first
//
// A call that moves money takes a [Key], which the caller has before anything is sent.
// That is the one thing which the caller contributes to "exactly once". Whoever loses
// the answer, by a time-out or because his own process died, sends the same request
// under the same key again, and gets the first answer. Whoever makes a new key for a
// retry pays twice. So the client never makes up a key, and never changes one: a key
// made inside the call would be gone with the process at the only moment at which it
// matters. Store the key and the request together (a [Charge] is plain JSON), because a
// key stands for one request: with another it is refused.
//
// # Which outcomes there are
//
// A call returns no error, and the payment; or one of these, to be asked for in this
// order:
//
//   - An error that is [ErrUnknownOutcome] means that the money may have moved, or may yet (or whatever else the call is
//     about). Never a new key now. The same key, at any time, finds out. [UnknownOutcomeError] carries it.
//   - An [*Error] is the service's no, with a code. [Error.Declined] means that it was decided and stored: another attempt
//     is a new intent and takes a new key. Otherwise nothing was done and the key is not used up, unless Retry is
//     [RetryNever]: then the key or the reference belongs to something done, and PaymentID says to what.
//   - Any other error, such as a service that could not be reached: nothing was done.
//
// To tell the first from the others takes knowledge that an error's text does not have.
// An attempt certainly did nothing if it never had a connection, or if the service said
// so. All other endings leave the outcome open, and it stays open: a refusal that
// answers the second attempt says nothing about the first, which may be on its way
// still. Only the key's own answer, or the word that the key can never have one,
// settles it.
//
// # What is sent again
//
// Within a call, and always with the same key and the same bytes:
//
//   - what the service asks for: a problem whose retry is same_key with status 429, 503, or 409 while the first request
//     is in progress;
//   - what was lost on the way: no connection, no whole answer, an attempt over its time limit, and 429, 502, 503 and 504
//     without a problem document, which are a gateway's words.
//
// Nothing else is. GET, PUT and DELETE are repeated likewise, because by their meaning
// a repetition changes nothing. A PATCH is guarded by the version it expects, so it
// takes effect once: repeated after a lost answer it is refused with 412, and whether
// the change is the caller's own or another's cannot be told from that. The client does
// not guess: the error is the 412 and [ErrUnknownOutcome] at once. Read the payment and
// patch again, as after every 412; a merge patch that was already applied then changes
// nothing.
//
// Waits grow exponentially with full jitter, a Retry-After is kept to, and three limits
// end the trying: attempts, time, and a [Options.RetryBudget] that all calls of a
// client share, so that an outage is not made worse by those who wait for its end. A
// context ends everything at once.
//
// # What net/http does by itself
//
// Its transport sends a request again on its own when a kept connection breaks, if it
// has an Idempotency-Key and its body can be had again. The key makes that harmless,
// but it is an attempt that nobody counts or pays for. Here every request that changes
// something has a body that can be had once, so each attempt is one request. (A GET may
// be sent twice.) Redirects are not followed: no path of the service has one, and the
// API key is meant for nobody else.
package client
