package stripe_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stripe/stripe-mock/embedded"
	"github.com/stripe/stripe-mock/server"

	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

// TestRequestsFitTheSpecification sends each call to stripe-mock, which compares it with
// Stripe's OpenAPI document: a parameter that is unknown, missing or of another type is a
// 400. Its answers are fixed examples, so most of them contradict the request.
func TestRequestsFitTheSpecification(t *testing.T) {
	t.Parallel()
	specification, err := server.LoadSpec(embedded.OpenAPISpec, "")
	if err != nil {
		t.Fatal(err)
	}
	fixtures, err := server.LoadFixtures(embedded.OpenAPIFixtures, "")
	if err != nil {
		t.Fatal(err)
	}
	stub, err := server.NewStubServer(fixtures, specification, false, false)
	if err != nil {
		t.Fatal(err)
	}
	mock := httptest.NewServer(http.HandlerFunc(stub.HandleRequest))
	defer mock.Close()
	c, ctx := newClient(mock.URL), t.Context()

	results := map[string]error{}
	for name, manual := range map[string]bool{"create": false, "create manually": true} {
		_, results[name] = c.CreateIntent(ctx, "key", stripe.NewIntent{
			Owner: owner, Amount: usd, PaymentMethod: "pm_card_visa", Manual: manual,
		})
	}
	_, results["confirm"] = c.Confirm(ctx, "key", "pi_1")
	_, results["retrieve"] = c.Retrieve(ctx, "pi_1")
	_, results["capture"] = c.Capture(ctx, "key", "pi_1", usd)
	_, results["cancel"] = c.Cancel(ctx, "key", "pi_1")
	_, results["refund"] = c.Refund(ctx, "key", "pi_1", usd, owner)
	_, results["refunds"] = c.Refunds(ctx, "pi_1")
	for _, err := range c.Intents(ctx, since, until) {
		results["intents"] = err
	}
	for _, err := range c.AllRefunds(ctx, since, until) {
		results["all refunds"] = err
	}
	for _, err := range c.Disputes(ctx, since, until) {
		results["disputes"] = err
	}
	for name, err := range results {
		e, _ := errors.AsType[*stripe.Error](err)
		if err != nil && (e == nil || e.Code != stripe.CodeContradiction) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(results) != 11 {
		t.Errorf("there are %d results: %v", len(results), results)
	}
}
