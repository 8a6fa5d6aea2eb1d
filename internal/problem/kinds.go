package problem

import "net/http"

// Retry tells a program what to do with its idempotency key.
type Retry string

// The values of a problem's member "retry".
const (
	SameKey Retry = "same_key" // not used up: send again with it, later or corrected
	NewKey  Retry = "new_key"  // decided and stored: another attempt is a new intent
	Never   Retry = "never"    // the key or the reference belongs to something done
)

// Kind is everything about a problem that its code decides, its page under /docs/errors
// included. The fields have no default: a kind without a page does not compile.
type Kind struct {
	Status   int
	Retry    Retry
	Title    string
	Happened string // for the page: what happened
	Next     string // for the page: what to do now
}

// Kinds are the problems of the API, by their stable codes.
var Kinds = map[string]Kind{
	"idempotency_key_missing": {
		http.StatusBadRequest, SameKey, "The Idempotency-Key header is missing",
		"A request that changes something came without an Idempotency-Key. Without one, a retry " +
			"could not be told from a second request, " +
			"so nothing was done.",
		"Make a key for the intent, such as the order's number or a UUID, store it where a " +
			"crash does not lose it, and send the request " +
			"with it.",
	},
	"idempotency_key_invalid": {
		http.StatusBadRequest, SameKey, "The Idempotency-Key header cannot be read",
		"The key is empty, longer than 255 characters, holds something else than printable " +
			"ASCII, is quoted and its quotes or escapes " +
			"are wrong, or the header is there twice. Nothing was done.",
		"Send one header, with 1 to 255 printable ASCII characters, plain or as a quoted string " +
			"of RFC 9651. " +
			"No request can have been executed under this spelling, so a corrected one is safe.",
	},
	"invalid_request": {
		http.StatusBadRequest, SameKey, "The request cannot be read",
		"The body is not valid JSON, or a member or parameter is unknown, occurs twice, is " +
			"missing or has the wrong type. " +
			"What cannot be read is never guessed at, so nothing was done.",
		"See detail and errors, and send the corrected request with the same key.",
	},
	"unauthorized": {
		http.StatusUnauthorized, SameKey, "A valid API key is required",
		"There is no API key in the Authorization header, it is badly formed, nobody's, or " +
			"revoked. " +
			"Nothing about the request was looked at, not even whether its idempotency key has " +
			"an answer.",
		"Send “Authorization: Bearer sk_…” with a valid key of the same merchant, and the same " +
			"idempotency key.",
	},
	"insufficient_funds": {
		http.StatusPaymentRequired, NewKey, "The account cannot pay",
		"When the charge was decided, the source account could not pay it, its overdraft " +
			"included, and the payment is declined. Or it " +
			"was a refund, which the account that was paid cannot give back: then the refund is " +
			"declined, and the payment is as it was. " +
			"Either is for good: the answer is stored, and every retry with this key gets it " +
			"again, even when the account has money later.",
		"See to it that the account can pay. The next attempt is a new intent, so it takes a " +
			"new key. It may have the same reference.",
	},
	"invalid_state": {
		http.StatusConflict, SameKey, "The payment's status does not allow that",
		"An authorized payment can be captured or canceled, once, until its authorization " +
			"expires; a succeeded one can be refunded. This " +
			"payment is in another status, perhaps because somebody else was first. Nothing was " +
			"done.",
		"Look at the payment. If a request of your own was first, the key of that request has " +
			"its answer. This key is free, and may be " +
			"used for another request.",
	},
	"amount_too_large": {
		http.StatusUnprocessableEntity, SameKey, "The amount is more than there is",
		"The request would capture more than was authorized, or refund more than is left of " +
			"what was captured. Nothing was done.",
		"Look at the payment's amount, amount_captured and amount_refunded, and send a smaller " +
			"amount, or none for all that is left, " +
			"with the same key.",
	},
	"precondition_required": {
		http.StatusPreconditionRequired, SameKey, "If-Match is required",
		"A change of what is written on a payment came without If-Match. Two who change it at " +
			"the same moment would undo each other's " +
			"work without seeing it, so nothing was done.",
		"GET the payment, decide on what it says now, and send the change with If-Match and the " +
			"ETag that came with it.",
	},
	"forbidden": {
		http.StatusForbidden, SameKey, "Only reading is allowed here",
		"The request would change something, and the API key is one that may only read. Or a " +
			"browser sent it on behalf of a page " +
			"of another origin than this service's (Sec-Fetch-Site and Origin say so), whatever " +
			"its API key. Nothing was done.",
		"Send the request with an API key that may write, from your server and not from a page " +
			"of yours, and with the same " +
			"idempotency key.",
	},
	"not_found": {
		http.StatusNotFound, SameKey, "There is no such thing",
		"There is nothing at this path: it never was, or it belongs to another merchant, which " +
			"is the same from where you stand.",
		"Check the path and the id. Have you lost a payment's id? GET " +
			"/payments?idempotency_key= finds it by its key.",
	},
	"method_not_allowed": {
		http.StatusMethodNotAllowed, SameKey, "The resource does not have that method",
		"The path is there, and the method is not.",
		"The header Allow names the methods that it has.",
	},
	"idempotency_key_expired": {
		http.StatusConflict, Never, "The key was used, and its answer is no longer kept",
		"This key made or changed the payment that payment_id names. That was so long ago that " +
			"the answer's bytes are no longer kept. " +
			"The key " +
			"itself is kept for ever, so that a late retry is never a second charge.",
		"GET the payment: it says what became of it. Do not charge again unless you mean a " +
			"second payment.",
	},
	"duplicate_reference": {
		http.StatusConflict, Never, "Another payment has this reference",
		"A reference is paid once. The payment that payment_id names has this one, under " +
			"another key, and is not declined. " +
			"This usually means that two keys were made for one purchase, and that you have " +
			"just been kept from charging it twice.",
		"Look at that payment. If you do mean another purchase, give it a reference of its own.",
	},
	"account_currency_fixed": {
		http.StatusConflict, SameKey, "An account's currency never changes",
		"The account is there, in another currency. What its entries say would change its " +
			"meaning with it.",
		"Open an account under another id for the other currency.",
	},
	"overdraft_in_use": {
		http.StatusConflict, SameKey, "The overdraft is in use",
		"The account is further below zero than the new overdraft limit allows. Its terms are " +
			"as they were.",
		"Give it a limit that covers what is in use, or pay money in first.",
	},
	"account_not_empty": {
		http.StatusConflict, SameKey, "The account is not empty",
		"The account cannot be closed while it holds or owes money, or while payments from it " +
			"or to it are under way.",
		"Move its balance to another account, wait for its payments to end, and send the " +
			"request again.",
	},
	"precondition_failed": {
		http.StatusPreconditionFailed, SameKey, "What If-Match asks for is not there",
		"If-Match named a version that the resource does not have (any more): somebody else has " +
			"changed it. Or there is no such resource " +
			"at all, and so no version of it. This request did nothing; but an earlier one, " +
			"whose answer was lost, may be what has " +
			"changed it.",
		"GET it, decide on what it says now, and send the change with its new ETag.",
	},
	"payload_too_large": {
		http.StatusRequestEntityTooLarge, SameKey, "The body is too large",
		"A request's body may have at most 65,536 bytes. The rest was not read, and nothing was " +
			"done.",
		"Send less, under the same key. Long texts belong into your own books, under the " +
			"payment's reference.",
	},
	"unsupported_media_type": {
		http.StatusUnsupportedMediaType, SameKey, "The body's type is not supported",
		"The body is not announced as application/json, or it is compressed. It was not read, " +
			"and nothing was done.",
		"Send “Content-Type: application/json” and no Content-Encoding, with the same key.",
	},
	"idempotency_key_reused": {
		http.StatusUnprocessableEntity, Never, "The key belongs to another request",
		"This key made or changed the payment that payment_id names, by a request that differs " +
			"from this one in more than how it is " +
			"written. " +
			"Executing this one would break the promise to the first, which goes on replaying " +
			"to its own retries.",
		"If this was meant to be a retry, send exactly the first request. If it is another " +
			"intent, give it a key of its own.",
	},
	"unprocessable": {
		http.StatusUnprocessableEntity, SameKey, "The request is refused",
		"The request was read, and asks for something that is not allowed. Nothing was done, " +
			"and nothing is stored.",
		"The list errors names every member that is to blame. Send the corrected request with " +
			"the same key.",
	},
	"account_not_found": {
		http.StatusUnprocessableEntity, SameKey, "There is no such account",
		"The source or the destination of the charge does not exist; errors says which. Nothing " +
			"was done.",
		"Create the account by a PUT, or correct its id, and send the charge with the same key.",
	},
	"account_closed": {
		http.StatusUnprocessableEntity, SameKey, "The account is closed",
		"A closed account takes part in no new payment, and its terms are as they were when it " +
			"was closed. " +
			"(A charge gets this as 422, a PUT of the account as 409.)",
		"Use another account. The same key will do.",
	},
	"currency_mismatch": {
		http.StatusUnprocessableEntity, SameKey, "The currencies differ",
		"The charge is in one currency and the account in another; errors says which account. " +
			"Nothing is ever converted.",
		"Charge in the account's currency, from and to accounts that have it. The same key will " +
			"do.",
	},
	"rate_limited": {
		http.StatusTooManyRequests, SameKey, "Too many requests",
		"The merchant sends more requests than its rate allows. This one was not looked at.",
		"Wait for as many seconds as Retry-After says, and a random while more, and send the " +
			"same request with the same key.",
	},
	"internal_error": {
		http.StatusInternalServerError, SameKey, "Something went wrong here",
		"The service met with something that it has no name for. Details are in its log, under " +
			"the request_id.",
		"The same request with the same key is safe, now or later: it was executed once or not " +
			"at all. Tell whoever runs the service.",
	},
	"outcome_unknown": {
		http.StatusServiceUnavailable, SameKey, "The outcome is not known yet",
		"The request was on its way into the database when time was up, and whether it was " +
			"executed is not known yet. It may still be.",
		"Send the same request with the same key until the answer is another one: it finds out, " +
			"and never charges twice. " +
			"Never take a new key here, and never treat this as a decline.",
	},
	"overloaded": {
		http.StatusServiceUnavailable, SameKey, "Too many requests are waiting",
		"More requests are waiting than the service can soon answer. This one was turned away " +
			"at the door.",
		"Wait for as many seconds as Retry-After says, and a random while more, and send the " +
			"same request with the same key.",
	},
	"unavailable": {
		http.StatusServiceUnavailable, SameKey, "The service cannot work right now",
		"The service cannot reach its database, or cannot confirm that a standby of it has the " +
			"change, or it cannot yet tell what the " +
			"key stands for because a newer release is being rolled out.",
		"Send the same request with the same key again after a while, to this or another " +
			"instance. Without a key it is as safe: " +
			"PUT, PATCH with If-Match, and DELETE change nothing twice.",
	},
}
