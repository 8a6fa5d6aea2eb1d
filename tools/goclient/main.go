//go:build generated

// Command goclient makes a charge, a replay and a typed error with the client that
// oapi-codegen generates from the contract. The package test/generated adds that client to
// this package, and runs the program.
package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"strings"

	_ "github.com/oapi-codegen/runtime" // the generated client needs it
)

func main() {
	ctx := context.Background()
	service := must(NewClientWithResponses(os.Getenv("URL"), WithRequestEditorFn(
		func(_ context.Context, r *http.Request) error {
			r.Header.Set("Authorization", "Bearer "+os.Getenv("API_KEY"))
			return nil
		})))
	charge := func(key, from string) *CreatePaymentResponse {
		return must(service.CreatePaymentWithResponse(ctx,
			&CreatePaymentParams{IdempotencyKey: key},
			Charge{
				Amount: 4999, Currency: "USD", SourceAccount: &from,
				DestinationAccount: "shop",
			}))
	}

	for _, id := range []string{"alice", "shop"} {
		account := must(service.PutAccountWithResponse(ctx, id, nil,
			AccountTerms{Currency: "USD"}))
		check(account.JSON201 != nil, "an account", account.Body)
	}
	// The generated type cannot write null, so this body is written by hand.
	world := must(service.PutAccountWithBodyWithResponse(ctx, "world", nil, "application/json",
		strings.NewReader(`{"currency":"USD","overdraft_limit":null}`)))
	check(world.JSON201 != nil, "an account without a limit", world.Body)

	first := charge("order-1017", "world")
	check(first.JSON201 != nil && first.JSON201.Status == PaymentStatusSucceeded, "a charge",
		first.Body)
	second := charge("order-1017", "world")
	check(second.JSON201 != nil && second.JSON201.Id == first.JSON201.Id &&
		second.HTTPResponse.Header.Get("Idempotent-Replayed") == "true", "a replay", second.Body)

	declined := charge("order-1018", "alice")
	problem := declined.ApplicationproblemJSON402
	check(problem != nil, "a decline", declined.Body)
	var code DeclinedCode = problem.Code // a type of its own, with a constant for each code
	check(code == DeclinedCodeInsufficientFunds, "the code of a decline", declined.Body)
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func check(ok bool, what string, body []byte) {
	if !ok {
		log.Fatalf("%s: %s", what, body)
	}
}
