package stripe

import (
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/stripe/stripe-go/v84"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
)

// Intent is a payment intent as the processor describes it. An amount that cannot be
// converted to our minor units is the zero Money. That happens only to intents of
// others.
type Intent struct {
	Owner // zero: it is not ours

	ID               string
	Status           Status
	Amount           ledger.Money
	AmountReceived   ledger.Money // taken
	AmountCapturable ledger.Money // authorized, and not yet taken
	Manual           bool         // it is authorized first
	DeclineCode      string       // ours, of the last confirm; "" if it was not declined
	CreatedAt        time.Time

	// Disputed is about the latest charge. Only Retrieve and Intents read it.
	Disputed bool
}

// Status is Stripe's status of an intent. An unknown text stays as it is.
type Status string

// Statuses of an intent. Only Succeeded and Canceled are final.
const (
	RequiresPaymentMethod Status = "requires_payment_method" // also after a decline
	RequiresConfirmation  Status = "requires_confirmation"
	RequiresAction        Status = "requires_action"
	Processing            Status = "processing"
	RequiresCapture       Status = "requires_capture"
	Succeeded             Status = "succeeded"
	Canceled              Status = "canceled"
)

// Final tells whether an intent of the status changes no more.
func (s Status) Final() bool { return s == Succeeded || s == Canceled }

// Owner says which attempt an object at the processor belongs to.
type Owner struct {
	Installation uuid.UUID
	MerchantID   int64
	AttemptID    uuid.UUID
}

// Names of the metadata. They are stored at the processor, so they never change.
const (
	metadataInstallation = "paymentsvc_installation"
	metadataMerchant     = "paymentsvc_merchant"
	metadataAttempt      = "paymentsvc_attempt"
)

func (o Owner) metadata() map[string]string {
	return map[string]string{
		metadataInstallation: o.Installation.String(),
		metadataMerchant:     strconv.FormatInt(o.MerchantID, 10),
		metadataAttempt:      o.AttemptID.String(),
	}
}

// ownerOf reads metadata. Metadata that the service has not written give the zero Owner.
func ownerOf(metadata map[string]string) (o Owner) {
	var errs [3]error
	o.Installation, errs[0] = uuid.Parse(metadata[metadataInstallation])
	o.MerchantID, errs[1] = strconv.ParseInt(metadata[metadataMerchant], 10, 64)
	o.AttemptID, errs[2] = uuid.Parse(metadata[metadataAttempt])
	if errs != [3]error{} {
		return Owner{}
	}
	return o
}

// readable tells whether an answer was an intent, and not some other JSON.
func readable(sent *stripe.PaymentIntent) bool {
	return sent.Object == "payment_intent" && sent.ID != "" && sent.Status != ""
}

func newIntent(sent *stripe.PaymentIntent) Intent {
	intent := Intent{
		Owner:            ownerOf(sent.Metadata),
		ID:               sent.ID,
		Status:           Status(sent.Status),
		Amount:           fromWire(sent.Amount, sent.Currency),
		AmountReceived:   fromWire(sent.AmountReceived, sent.Currency),
		AmountCapturable: fromWire(sent.AmountCapturable, sent.Currency),
		Manual:           sent.CaptureMethod == stripe.PaymentIntentCaptureMethodManual,
		CreatedAt:        time.Unix(sent.Created, 0).UTC(),
	}
	if sent.LastPaymentError != nil {
		intent.DeclineCode = declineCode(sent.LastPaymentError)
	}
	if charge := sent.LatestCharge; charge != nil { // it may be only an id
		intent.Disputed = charge.Disputed
	}
	return intent
}
