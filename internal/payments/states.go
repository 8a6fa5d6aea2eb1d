package payments

// The operations, by the names that keys and fingerprints carry.
const (
	operationCharge  = "charge"
	operationCapture = "capture"
	operationCancel  = "cancel"
	operationExpire  = "expire" // the service's own: an authorization has come to its end
	operationRefund  = "refund"
	operationSettle  = "settle" // the service's own: the result of an attempt
)

// requiredStatus is the status that a payment must have for an operation on it. The
// ways between the statuses are in the schema, which refuses every other:
// payment_transitions in migrations/000004_payments.up.sql. docs/payment-states.md is
// drawn from both.
var requiredStatus = map[string]Status{
	operationCapture: StatusAuthorized,
	operationCancel:  StatusAuthorized,
	operationExpire:  StatusAuthorized,
	operationRefund:  StatusSucceeded, // and it stays so
}
