package payments

// The operations, by the names that keys and fingerprints carry.
const (
	operationCharge  = "charge"
	operationCapture = "capture"
	operationCancel  = "cancel"
	operationExpire  = "expire" // the service's own: an authorization has come to its end
	operationRefund  = "refund"
)

// transition is one way that a payment can go.
type transition struct {
	from      Status // "": there is no payment yet
	operation string
	to        Status
}

// transitions are all of them. A decision asks this table before it looks at any money;
// the schema has the same table as a trigger (payments_transition_legal), and
// docs/payment-states.md is drawn from it.
var transitions = []transition{
	{"", operationCharge, StatusSucceeded},
	{"", operationCharge, StatusAuthorized},
	{"", operationCharge, StatusDeclined},
	{StatusAuthorized, operationCapture, StatusSucceeded},
	{StatusAuthorized, operationCancel, StatusCanceled},
	{StatusAuthorized, operationExpire, StatusCanceled},
	{StatusSucceeded, operationRefund, StatusSucceeded},
}

// allows tells whether the operation has a way to go from the payment's state.
func (p *Payment) allows(operation string) bool {
	for _, t := range transitions {
		if t.from == p.Status && t.operation == operation {
			return true
		}
	}
	return false
}
