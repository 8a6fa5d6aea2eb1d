package simulator

import "slices"

// The objects of Stripe's wire format, as far as card payments use them.

type wireIntent struct {
	ID                 string            `json:"id"`
	Object             string            `json:"object"`
	Amount             int64             `json:"amount"`
	AmountCapturable   int64             `json:"amount_capturable"`
	AmountReceived     int64             `json:"amount_received"`
	CanceledAt         *int64            `json:"canceled_at"`
	CancellationReason *string           `json:"cancellation_reason"`
	CaptureMethod      string            `json:"capture_method"`
	ClientSecret       string            `json:"client_secret"`
	ConfirmationMethod string            `json:"confirmation_method"`
	Created            int64             `json:"created"`
	Currency           string            `json:"currency"`
	Description        *string           `json:"description"`
	LastPaymentError   *wireError        `json:"last_payment_error"`
	LatestCharge       any               `json:"latest_charge"` // an id, or the charge
	Livemode           bool              `json:"livemode"`
	Metadata           map[string]string `json:"metadata"`
	NextAction         *wireNextAction   `json:"next_action"`
	PaymentMethod      *string           `json:"payment_method"`
	PaymentMethodTypes []string          `json:"payment_method_types"`
	Status             string            `json:"status"`
}

type wireNextAction struct {
	Type         string            `json:"type"`
	UseStripeSDK map[string]string `json:"use_stripe_sdk"`
}

type wireCharge struct {
	ID                   string            `json:"id"`
	Object               string            `json:"object"`
	Amount               int64             `json:"amount"`
	AmountCaptured       int64             `json:"amount_captured"`
	AmountRefunded       int64             `json:"amount_refunded"`
	Captured             bool              `json:"captured"`
	Created              int64             `json:"created"`
	Currency             string            `json:"currency"`
	Disputed             bool              `json:"disputed"`
	FailureCode          *string           `json:"failure_code"`
	FailureMessage       *string           `json:"failure_message"`
	Livemode             bool              `json:"livemode"`
	Metadata             map[string]string `json:"metadata"`
	Outcome              wireOutcome       `json:"outcome"`
	Paid                 bool              `json:"paid"`
	PaymentIntent        string            `json:"payment_intent"`
	PaymentMethod        string            `json:"payment_method"`
	PaymentMethodDetails wireMethodDetails `json:"payment_method_details"`
	Refunded             bool              `json:"refunded"`
	Status               string            `json:"status"`
}

type wireOutcome struct {
	NetworkStatus string  `json:"network_status"`
	Reason        *string `json:"reason"`
	RiskLevel     string  `json:"risk_level"`
	SellerMessage string  `json:"seller_message"`
	Type          string  `json:"type"`
}

type wireMethodDetails struct {
	Card wireCard `json:"card"`
	Type string   `json:"type"`
}

type wireCard struct {
	Brand    string `json:"brand"`
	Country  string `json:"country"`
	ExpMonth int64  `json:"exp_month"`
	ExpYear  int64  `json:"exp_year"`
	Funding  string `json:"funding"`
	Last4    string `json:"last4"`
	Network  string `json:"network"`
}

type wireRefund struct {
	ID            string            `json:"id"`
	Object        string            `json:"object"`
	Amount        int64             `json:"amount"`
	Charge        string            `json:"charge"`
	Created       int64             `json:"created"`
	Currency      string            `json:"currency"`
	FailureReason string            `json:"failure_reason,omitempty"`
	Metadata      map[string]string `json:"metadata"`
	PaymentIntent string            `json:"payment_intent"`
	Reason        *string           `json:"reason"`
	Status        string            `json:"status"`
}

type wireDispute struct {
	ID            string            `json:"id"`
	Object        string            `json:"object"`
	Amount        int64             `json:"amount"`
	Charge        string            `json:"charge"`
	Created       int64             `json:"created"`
	Currency      string            `json:"currency"`
	Livemode      bool              `json:"livemode"`
	Metadata      map[string]string `json:"metadata"`
	PaymentIntent string            `json:"payment_intent"`
	Reason        string            `json:"reason"`
	Status        string            `json:"status"`
}

type wireList struct {
	Object  string `json:"object"`
	Data    []any  `json:"data"`
	HasMore bool   `json:"has_more"`
	URL     string `json:"url"`
}

// optional is null for "".
func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// wire is the intent as the API shows it. Its charge is an id, unless it is expanded.
func (i intent) wire(e *entry, expand ...string) (wireIntent, error) {
	w := wireIntent{
		ID: i.ID, Object: "payment_intent", Amount: i.Amount, AmountCapturable: i.Capturable,
		AmountReceived: i.Received, CancellationReason: optional(i.CancelReason),
		CaptureMethod: i.CaptureMethod, ClientSecret: i.ID + "_secret_simulator",
		ConfirmationMethod: "automatic", Created: i.Created, Currency: i.Currency,
		Description: optional(i.Description), LastPaymentError: i.LastError,
		Metadata: i.Metadata, PaymentMethod: optional(i.PaymentMethod),
		PaymentMethodTypes: i.MethodTypes, Status: i.Status,
	}
	if i.CanceledAt != 0 {
		w.CanceledAt = &i.CanceledAt
	}
	if i.Status == statusRequiresAction {
		w.NextAction = &wireNextAction{
			Type: "use_stripe_sdk", UseStripeSDK: map[string]string{"type": "three_d_secure"},
		}
	}
	if i.LatestCharge == "" {
		return w, nil
	}
	w.LatestCharge = i.LatestCharge
	if !slices.Contains(expand, "latest_charge") &&
		!slices.Contains(expand, "data.latest_charge") { // in lists
		return w, nil
	}
	c, err := get[charge](e, bucketCharges, i.LatestCharge)
	if err != nil {
		return w, err
	}
	w.LatestCharge = c.wire()
	return w, nil
}

func (c charge) wire() wireCharge {
	w := wireCharge{
		ID: c.ID, Object: "charge", Amount: c.Amount, AmountCaptured: c.AmountCaptured,
		AmountRefunded: c.AmountRefunded + c.AmountReleased, Captured: c.Captured,
		Created: c.Created, Currency: c.Currency, Disputed: c.Disputed,
		FailureCode:    optional(c.FailureCode),
		FailureMessage: optional(c.FailureMessage), Metadata: map[string]string{},
		Paid: c.FailureCode == "", PaymentIntent: c.Intent, PaymentMethod: c.Card,
		PaymentMethodDetails: wireMethodDetails{Card: cards[c.Card].wire(), Type: "card"},
		Refunded:             c.AmountRefunded+c.AmountReleased == c.Amount,
		Status:               "succeeded",
		Outcome: wireOutcome{
			NetworkStatus: "approved_by_network", RiskLevel: "normal",
			SellerMessage: "Payment complete.", Type: "authorized",
		},
	}
	if c.FailureCode != "" {
		w.Status = "failed"
		w.Outcome = wireOutcome{
			NetworkStatus: "declined_by_network", RiskLevel: "normal",
			Reason:        optional(c.DeclineCode),
			SellerMessage: "The bank declined the payment.", Type: "issuer_declined",
		}
	}
	return w
}

func (r refund) wire() wireRefund {
	return wireRefund{
		ID: r.ID, Object: "refund", Amount: r.Amount, Charge: r.Charge, Created: r.Created,
		Currency: r.Currency, FailureReason: r.FailureReason, Metadata: r.Metadata,
		PaymentIntent: r.Intent, Reason: optional(r.Reason), Status: r.Status,
	}
}

func (d dispute) wire() wireDispute {
	return wireDispute{
		ID: d.ID, Object: "dispute", Amount: d.Amount, Charge: d.Charge, Created: d.Created,
		Currency: d.Currency, Metadata: map[string]string{}, PaymentIntent: d.Intent,
		Reason: d.Reason, Status: d.Status,
	}
}
