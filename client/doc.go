// Package client calls paymentsvc, and retries as payments must be retried: however often
// a request is sent, the money moves once.
//
//	payments, err := client.New(client.Options{
//		URL: "https://payments.example.com", APIKey: os.Getenv("API_KEY"),
//	})
//	…
//	charge := client.Charge{
//		Amount: 4999, Currency: "USD", SourceAccount: "alice", DestinationAccount: "shop",
//	}
//	key := client.NewKey()
//	// Store key and charge with their order.
//	payment, err := payments.Charge(ctx, key, charge)
//
// # The key comes first
//
// A call that moves money takes a [Key]. The caller must have the key before it sends
// anything, and store it with the request (a [Charge] is plain JSON). If the answer is
// lost, or the calling process dies, the same request under the same key gets the first
// answer. A new key for a retry pays twice. So the client never makes or changes a key: a
// key made inside the call would be lost together with the process.
//
// # Outcomes
//
// A call returns a payment, or an error. Test for the errors in this order:
//
//   - [ErrUnknownOutcome]: the request may have taken effect, or may do so later. Do not
//     use a new key. The same request under the same key finds out, at any time.
//     [UnknownOutcomeError] has the key.
//   - [*Error]: the service has refused or declined the request. After [Error.Declined]
//     another attempt is a new intent and takes a new key. If Retry is [RetryNever], the
//     key or the reference belongs to the payment in PaymentID. Otherwise nothing was
//     done, and the key is free.
//   - Any other error, such as no connection: nothing was done.
//
// An attempt certainly had no effect if the context had ended before, if it never had a
// connection, or if the service said so. After any other failure its outcome is unknown.
// A later refusal does not change that: the first attempt may still be under way. Only
// the answer of the key itself is final, or a problem that says the key belongs to
// another request.
//
// # Retries
//
// A call retries with the same key and the same bytes:
//
//   - if the service asks for it: its problem has retry "same_key" and status 429, 5xx,
//     or 409 while the first request is in progress;
//   - if the answer is lost: no connection, an incomplete answer, an attempt over its
//     time limit, or a 429, 502, 503 or 504 without a problem document, from a gateway.
//
// It does not retry anything else. GET, PUT and DELETE are retried in the same way: by
// their meaning a repetition changes nothing. A PATCH takes effect once, because it names
// the version that it changes. If it is repeated after a lost answer, the service may
// answer 412, and the client cannot tell its own change from another one. Then the error
// is both that 412 and [ErrUnknownOutcome]. Read the payment and patch it again.
//
// Waits grow exponentially, with full jitter, and respect Retry-After. Three limits end
// the retries: a number of attempts, a time, and the [Options.RetryBudget] of the client,
// which keeps retries from making an outage worse. The end of the context ends a call at
// once.
//
// # What net/http does by itself
//
// When a kept connection breaks, net/http may send a request again by itself, if it has
// an Idempotency-Key and its body can be read again. The key makes that harmless, but no
// limit counts it. So the bodies of this client can be read only once. (net/http may
// send a GET twice.) The client follows no redirects: the service has none, and the API
// key is for no other host.
package client
