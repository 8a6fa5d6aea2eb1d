package problem

import "net/http"

// Retry tells a program what to do with its idempotency key.
type Retry string

// The values of a problem's member "retry".
const (
	SameKey Retry = "same_key" // the key is free: use it again, later or corrected
	NewKey  Retry = "new_key"  // the key has a stored decline: use a new key
	Never   Retry = "never"    // the key or the reference belongs to an earlier request
)

// Kind holds everything that a problem's code decides, including its page under
// /docs/errors. Its fields have no names in Kinds, so a kind without a page does not
// compile.
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
		"A request that moves, holds or frees money came without an Idempotency-Key. Without " +
			"a key, the service cannot tell a retry from a second request. So it did nothing.",
		"Make a key for the intent, such as the order's number or a UUID. Store it where a " +
			"crash does not lose it. Then send the request with it.",
	},
	"idempotency_key_invalid": {
		http.StatusBadRequest, SameKey, "The Idempotency-Key header cannot be read",
		"The key is empty, has more than 255 characters, has characters other than printable " +
			"ASCII, is quoted wrongly, or the header is there twice. Or it has a comma and is " +
			"not quoted: a proxy joins two headers with a comma. Nothing was done.",
		"Send one header with 1 to 255 printable ASCII characters, plain or as a quoted " +
			"string of RFC 9651. Quote a key that has a comma. No request was executed under " +
			"the invalid key, so a corrected key is safe.",
	},
	"invalid_request": {
		http.StatusBadRequest, SameKey, "The request cannot be read",
		"The body is not valid JSON, or a member or parameter is unknown, duplicate, missing " +
			"or of the wrong type. The service does not guess. Nothing was done.",
		"Read detail and errors. Send the corrected request with the same key.",
	},
	"unauthorized": {
		http.StatusUnauthorized, SameKey, "A valid API key is required",
		"The Authorization header has no API key, or a key that is malformed, unknown or " +
			"revoked. The service did not read the request, and did not look for a stored " +
			"answer. Or an event of the card processor has a signature that does not fit, or is " +
			"too old.",
		"Send “Authorization: Bearer sk_…” with a valid API key of the same merchant, and " +
			"the same idempotency key. For an event, set the signing secret of the processor's " +
			"endpoint in STRIPE_WEBHOOK_SECRETS, and check the clocks.",
	},
	"insufficient_funds": {
		http.StatusPaymentRequired, NewKey, "The account cannot pay",
		"The source account could not pay the charge, even with its overdraft limit, so the " +
			"payment is declined; or the card lacks the money. Or the destination account could " +
			"not pay a refund, so the refund is declined and the payment is unchanged. The " +
			"decline is final. Every retry with this key gets the same answer, even if there is " +
			"money later.",
		"Make sure that the account or the card can pay. The next attempt is a new intent, so " +
			"use a new key. It may have the same reference.",
	},
	"card_declined": {
		http.StatusPaymentRequired, NewKey, "The card was declined",
		"The card processor has declined the payment or the refund, or has ended the " +
			"authorization. The payment's decline_code says more. The decline is final. Every " +
			"retry with this key gets the same answer.",
		"Ask for another card, or try later. The next attempt is a new intent, so use a new " +
			"key. It may have the same reference.",
	},
	"idempotency_key_in_progress": {
		http.StatusConflict, SameKey, "The request is still at the card processor",
		"A request with this key was begun, and the card processor has not answered yet. The " +
			"payment is processing. The service goes on asking the processor by itself.",
		"Wait for the seconds in Retry-After and a random time more. Then send the same " +
			"request with the same key: it gets the final answer. Or read the payment, or wait " +
			"for its event.",
	},
	"invalid_state": {
		http.StatusConflict, SameKey, "The payment's status does not allow that",
		"Only an authorized payment can be captured or canceled: once, and before its " +
			"authorization expires. Only a succeeded payment can be refunded. This payment has " +
			"another status, perhaps because another request was first. Nothing was done.",
		"Read the payment. If another request of yours was first, its own key has its answer. " +
			"The key of this request is free, and another request may use it.",
	},
	"amount_too_large": {
		http.StatusUnprocessableEntity, SameKey, "The amount is too large",
		"A capture was more than the authorized amount, or a refund was more than the rest of " +
			"the captured amount. Nothing was done.",
		"Read the payment's amount, amount_captured and amount_refunded. Send a smaller " +
			"amount with the same key, or no amount for all that is left.",
	},
	"precondition_required": {
		http.StatusPreconditionRequired, SameKey, "If-Match is required",
		"The request would edit a payment, open a closed account or make a new webhook " +
			"secret, but it has no If-Match. Without If-Match, one of two concurrent changes " +
			"could overwrite the other, and a late request could have an effect. Nothing was " +
			"done.",
		"GET the payment, the account or the webhook endpoint, and decide on its current " +
			"version. Then send the change with If-Match and the ETag of that version.",
	},
	"forbidden": {
		http.StatusForbidden, SameKey, "Only reading is allowed",
		"The request would change something, but its API key may only read. Or a browser sent " +
			"it for a page of another origin (Sec-Fetch-Site and Origin say so); such a request " +
			"may only read. Nothing was done.",
		"Send the request with an API key that may write, from your server and not from a web " +
			"page, with the same idempotency key.",
	},
	"not_found": {
		http.StatusNotFound, SameKey, "The resource was not found",
		"There is nothing at this path. The id never existed, or it belongs to another " +
			"merchant.",
		"Check the path and the id. If you have lost the id of a payment, GET " +
			"/payments?idempotency_key= finds the payment by its key.",
	},
	"method_not_allowed": {
		http.StatusMethodNotAllowed, SameKey, "The resource does not have that method",
		"The path exists, but it does not have this method.",
		"Use a method that the header Allow names.",
	},
	"idempotency_key_expired": {
		http.StatusConflict, Never, "The key was used, and its answer is no longer kept",
		"This key made or changed the payment in payment_id, so long ago that the service no " +
			"longer keeps the answer. The service keeps the key itself for ever, so that a late " +
			"retry is never a second charge.",
		"GET the payment: it has the result. Do not charge again unless you want a second " +
			"payment.",
	},
	"duplicate_reference": {
		http.StatusConflict, Never, "Another payment has this reference",
		"A reference is paid once. The payment in payment_id has the same reference and " +
			"another key, and is neither declined nor canceled. Usually a program has made two " +
			"keys for one purchase. The reference has prevented a second charge.",
		"Read that payment. If you want another purchase, give it its own reference.",
	},
	"account_currency_fixed": {
		http.StatusConflict, SameKey, "An account's currency never changes",
		"The account exists with another currency. A new currency would change the meaning of " +
			"its entries.",
		"Create an account with another id for the other currency.",
	},
	"overdraft_in_use": {
		http.StatusConflict, SameKey, "The overdraft is in use",
		"The account's balance, minus the amounts held, is below zero by more than the new " +
			"overdraft limit. The account is unchanged.",
		"Set a limit that covers the overdraft in use, or pay money in first.",
	},
	"account_not_empty": {
		http.StatusConflict, SameKey, "The account is not empty",
		"The account has money, owes money, or has open payments. It cannot be closed.",
		"Move the balance to another account, wait for the open payments to end, and send the " +
			"request again.",
	},
	"cursor_lost": {
		http.StatusGone, SameKey, "Events may be missing after the cursor",
		"The event that the cursor names is no longer there: the retention has deleted it and " +
			"later ones, or the database was restored to an earlier time, or a standby without " +
			"it took over. The service does not know which events this reader has missed.",
		"Compare your records with GET /payments for the time since your last event. Then read " +
			"GET /events without a cursor, from the oldest event that is kept. You may get " +
			"events that you know: their ids are the same.",
	},
	"precondition_failed": {
		http.StatusPreconditionFailed, SameKey, "The version in If-Match does not match",
		"The resource does not have the version in If-Match, because it was changed since. Or " +
			"the resource does not exist. This request did nothing. But an earlier copy of it, " +
			"whose answer was lost, may have made the change.",
		"GET the resource, and decide on its current version. Then send the change with the " +
			"new ETag.",
	},
	"payload_too_large": {
		http.StatusRequestEntityTooLarge, SameKey, "The body is too large",
		"The body has more than 65,536 bytes, or an event of the card processor more than " +
			"262,144. The service did not read the rest. Nothing was done.",
		"Send a smaller body with the same key. Keep long texts in your own system, under the " +
			"payment's reference.",
	},
	"unsupported_media_type": {
		http.StatusUnsupportedMediaType, SameKey, "The body's type is not supported",
		"The body's type is not application/json, or the body is compressed. The service did " +
			"not read it. Nothing was done.",
		"Send “Content-Type: application/json” and no Content-Encoding, with the same key.",
	},
	"idempotency_key_reused": {
		http.StatusUnprocessableEntity, Never, "The key belongs to another request",
		"This key made or changed the payment in payment_id by another request. The two " +
			"requests differ in more than their notation. A key stands for one request, so " +
			"nothing was done. Retries of the first request still get its answer.",
		"For a retry, send exactly the first request. For another intent, use a new key.",
	},
	"unprocessable": {
		http.StatusUnprocessableEntity, SameKey, "The request is refused",
		"The service has read the request, but does not allow it. Nothing was done, and " +
			"nothing is stored.",
		"The list errors names each invalid member. Send the corrected request with the same " +
			"key.",
	},
	"account_not_found": {
		http.StatusUnprocessableEntity, SameKey, "There is no such account",
		"The source or the destination of the charge does not exist; errors says which one. " +
			"Nothing was done.",
		"Create the account with PUT, or correct its id. Then send the charge with the same " +
			"key.",
	},
	"account_closed": {
		http.StatusUnprocessableEntity, SameKey, "The account is closed",
		"A closed account takes no new payment, and its terms cannot change. (A charge gets " +
			"this problem with status 422, a PUT of the account with 409.)",
		"Use another account, with the same key. Or open the account again: GET it, and PUT " +
			"its terms with “\"status\":\"open\"” and its ETag in If-Match.",
	},
	"currency_mismatch": {
		http.StatusUnprocessableEntity, SameKey, "The currencies differ",
		"The charge has one currency and the account another; errors says which account. The " +
			"service never converts money.",
		"Charge in the currency of both accounts, with the same key.",
	},
	"rate_limited": {
		http.StatusTooManyRequests, SameKey, "Too many requests",
		"The merchant is over its request rate. The service did not read this request.",
		"Wait for the seconds in Retry-After and a random time more. Then send the same " +
			"request with the same key.",
	},
	"internal_error": {
		http.StatusInternalServerError, SameKey, "The service has an internal error",
		"An unexpected error happened in the service. Its log has the details, under the " +
			"request_id.",
		"Send the same request with the same key, now or later. That is safe: the request was " +
			"executed once or not at all. Report the error to the operator of the service.",
	},
	"outcome_unknown": {
		http.StatusServiceUnavailable, SameKey, "The outcome is not known yet",
		"The time limit ended while the database was executing the request. It is not known " +
			"yet whether the request took effect, and it may still take effect.",
		"Send the same request with the same key until you get another answer. That finds out " +
			"the outcome and never charges twice. Do not use a new key, and do not treat this " +
			"answer as a decline.",
	},
	"overloaded": {
		http.StatusServiceUnavailable, SameKey, "Too many requests are waiting",
		"More requests are waiting than the service can answer soon. This request was refused " +
			"before it was executed.",
		"Wait for the seconds in Retry-After and a random time more. Then send the same " +
			"request with the same key.",
	},
	"unavailable": {
		http.StatusServiceUnavailable, SameKey, "The service is unavailable",
		"The service cannot reach its database, a standby has not confirmed the change, or " +
			"another session has locked a row that the request needs. Or " +
			"a newer release stored the key, and this instance cannot read its fingerprint yet.",
		"Send the same request with the same key later, to this instance or another. Requests " +
			"without a key are safe to repeat too: PUT, PATCH with If-Match, and DELETE change " +
			"nothing twice.",
	},
}
