package simulator_test

import (
	"errors"
	"testing"

	"github.com/stripe/stripe-go/v84"

	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// The SDK's own types read every answer. One that it cannot read fails its call.
func TestSDKChargesAndRefunds(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{})
	api := sdk(s)
	created, err := api.V1PaymentIntents.Create(t.Context(), &stripe.PaymentIntentCreateParams{
		Amount: stripe.Int64(4999), Currency: stripe.String("usd"),
		AutomaticPaymentMethods: &stripe.PaymentIntentCreateAutomaticPaymentMethodsParams{
			Enabled: new(true), AllowRedirects: stripe.String("never"),
		},
		PaymentMethod: stripe.String("pm_card_mastercard"),
		Metadata:      map[string]string{"order": "7"},
	})
	if err != nil || created.Status != stripe.PaymentIntentStatusRequiresConfirmation {
		t.Fatalf("creating: %+v, %v", created, err)
	}
	confirm := &stripe.PaymentIntentConfirmParams{}
	confirm.AddExpand("latest_charge")
	paid, err := api.V1PaymentIntents.Confirm(t.Context(), created.ID, confirm)
	if err != nil {
		t.Fatal(err)
	}
	card := paid.LatestCharge.PaymentMethodDetails.Card
	if paid.Status != stripe.PaymentIntentStatusSucceeded || paid.AmountReceived != 4999 ||
		paid.LatestCharge.AmountCaptured != 4999 || card.Last4 != "4444" ||
		card.Brand != "mastercard" || paid.LatestCharge.Outcome.Type != "authorized" ||
		paid.LastResponse.RequestID == "" {
		t.Errorf("confirmed: %+v", paid)
	}
	back, err := api.V1Refunds.Create(t.Context(), &stripe.RefundCreateParams{
		PaymentIntent: stripe.String(paid.ID), Amount: stripe.Int64(1000),
		Reason: stripe.String("requested_by_customer"), Metadata: map[string]string{"a": "b"},
	})
	if err != nil || back.Status != stripe.RefundStatusSucceeded || back.Amount != 1000 {
		t.Fatalf("refunded: %+v, %v", back, err)
	}
	found, err := api.V1Refunds.Retrieve(t.Context(), back.ID, nil)
	if err != nil || found.PaymentIntent.ID != paid.ID || found.Metadata["a"] != "b" {
		t.Errorf("the refund: %+v, %v", found, err)
	}
	retrieve := &stripe.PaymentIntentRetrieveParams{}
	retrieve.AddExpand("latest_charge")
	seen, err := api.V1PaymentIntents.Retrieve(t.Context(), paid.ID, retrieve)
	if err != nil || seen.LatestCharge.AmountRefunded != 1000 || seen.Metadata["order"] != "7" {
		t.Errorf("retrieved: %+v, %v", seen, err)
	}
	if b := only(t, s); b.TimesTaken != 1 || b.AmountRefunded != 1000 || len(b.Refunds) != 1 {
		t.Errorf("the books: %+v", b)
	}
}

func TestSDKHoldsCapturesAndCancels(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{})
	api := sdk(s)
	hold := func() string {
		held, err := api.V1PaymentIntents.Create(t.Context(), &stripe.PaymentIntentCreateParams{
			Amount: stripe.Int64(1000), Currency: stripe.String("eur"),
			PaymentMethodTypes: []*string{stripe.String("card")},
			PaymentMethod:      stripe.String("pm_card_visa"), Confirm: new(true),
			CaptureMethod: stripe.String("manual"),
		})
		if err != nil || held.Status != stripe.PaymentIntentStatusRequiresCapture ||
			held.AmountCapturable != 1000 || held.AmountReceived != 0 {
			t.Fatalf("held: %+v, %v", held, err)
		}
		return held.ID
	}
	captured, err := api.V1PaymentIntents.Capture(t.Context(), hold(),
		&stripe.PaymentIntentCaptureParams{AmountToCapture: stripe.Int64(700)})
	if err != nil || captured.AmountReceived != 700 || captured.AmountCapturable != 0 {
		t.Errorf("captured: %+v, %v", captured, err)
	}
	canceled, err := api.V1PaymentIntents.Cancel(t.Context(), hold(),
		&stripe.PaymentIntentCancelParams{CancellationReason: stripe.String("abandoned")})
	if err != nil || canceled.Status != stripe.PaymentIntentStatusCanceled ||
		canceled.CancellationReason != "abandoned" || canceled.CanceledAt == 0 {
		t.Errorf("canceled: %+v, %v", canceled, err)
	}
	_, err = api.V1PaymentIntents.Capture(t.Context(), captured.ID, nil)
	if refused, ok := errors.AsType[*stripe.Error](err); !ok || refused.PaymentIntent == nil ||
		refused.Code != stripe.ErrorCodePaymentIntentUnexpectedState {
		t.Errorf("captured twice: %v", err)
	}
	// What a hold releases is a refund at Stripe, but no money that went back.
	for id, released := range map[string]int64{captured.ID: 300, canceled.ID: 1000} {
		retrieve := &stripe.PaymentIntentRetrieveParams{}
		retrieve.AddExpand("latest_charge")
		seen, err := api.V1PaymentIntents.Retrieve(t.Context(), id, retrieve)
		if err != nil || seen.LatestCharge.AmountRefunded != released {
			t.Errorf("released: %+v, %v", seen, err)
		}
		if i := find(t, s, id); i.AmountRefunded != 0 || !i.Refunds[0].Released ||
			i.Refunds[0].Amount != released {
			t.Errorf("the books: %+v", i)
		}
	}
	post(t, s.URL(), "/v1/refunds", "", "payment_intent="+captured.ID)
	if i := find(t, s, captured.ID); i.AmountRefunded != 700 {
		t.Errorf("refunded: %+v", i)
	}
	all := books(t, s).Intents
	if all[0].TimesTaken != 1 || all[1].TimesTaken != 0 {
		t.Errorf("the books: %+v", all)
	}
}

// The SDK reads page after page.
func TestListsAreNewestFirst(t *testing.T) {
	t.Parallel()
	s := start(t, simulator.Options{})
	api := sdk(s)
	var want []string
	for range 5 {
		want = append([]string{charge(t, s, "pm_card_createDispute")}, want...)
	}
	params := &stripe.PaymentIntentListParams{
		CreatedRange: &stripe.RangeQueryParams{GreaterThanOrEqual: 1, LesserThan: 1 << 40},
	}
	params.Limit = stripe.Int64(2)
	params.AddExpand("data.latest_charge")
	var got []string
	for i, err := range api.V1PaymentIntents.List(t.Context(), params) {
		if err != nil || i.LatestCharge.AmountCaptured != 1000 {
			t.Fatal(i, err)
		}
		got = append(got, i.ID)
	}
	if len(got) != 5 || got[0] != want[0] || got[4] != want[4] {
		t.Errorf("listed %v, want %v", got, want)
	}
	for _, id := range want[:2] {
		post(t, s.URL(), "/v1/refunds", "", "payment_intent="+id+"&amount=1")
	}
	refunds := 0
	for r, err := range api.V1Refunds.List(t.Context(), &stripe.RefundListParams{
		PaymentIntent: stripe.String(want[0]),
	}) {
		if err != nil || r.PaymentIntent.ID != want[0] {
			t.Error(r, err)
		}
		refunds++
	}
	disputes := 0
	for d, err := range api.V1Disputes.List(t.Context(), &stripe.DisputeListParams{}) {
		if err != nil || d.Amount != 1000 || d.Status != stripe.DisputeStatusNeedsResponse {
			t.Error(d, err)
		}
		disputes++
	}
	if refunds != 1 || disputes != 5 {
		t.Errorf("%d refunds and %d disputes", refunds, disputes)
	}
	future := get(t, s.URL(), intents+"?created[gte]=9999999999")
	if future.status != 200 || len(future.body) > 200 {
		t.Errorf("of the future: %s", future.body)
	}
}
