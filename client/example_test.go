package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/paymentsvc/paymentsvc/client"
)

// standIn answers charges as the service does, and loses the first answers: an example
// has to show an outage that comes when it should.
func standIn(lose int, decline bool) *httptest.Server {
	var mu sync.Mutex
	charged := map[string]bool{}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		defer mu.Unlock()
		key := r.Header.Get("Idempotency-Key")
		if charged[key] {
			w.Header().Set("Idempotent-Replayed", "true")
		}
		charged[key] = true
		if lose > 0 {
			lose--
			panic(http.ErrAbortHandler) // the charge is stored; its answer is lost
		}
		if decline {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusPaymentRequired)
			_, _ = io.WriteString(w, `{"status":402,"code":"insufficient_funds","retry":"new_key",
				"payment_id":"pay_2"}`)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w,
			`{"id":"pay_1","status":"succeeded","amount":4999,"currency":"USD"}`)
	}))
}

func connect(server *httptest.Server) *client.Client {
	payments, err := client.New(client.Options{
		URL: server.URL, APIKey: "sk_test", AttemptsMax: 3,
		BackoffBase: time.Millisecond,
	})
	if err != nil {
		panic(err)
	}
	return payments
}

// The key is there, and stored, before anything is sent. When the first answer is lost
// the client asks again, and is told that the charge had been made.
func ExampleClient_Charge() {
	server := standIn(1, false)
	defer server.Close()
	payments := connect(server)
	defer payments.Close()

	charge := client.Charge{
		Amount: 4999, Currency: "USD", SourceAccount: "alice",
		DestinationAccount: "shop",
	}
	key := client.NewKey()
	// Here the caller stores key and charge, with the order that they are for.

	payment, err := payments.Charge(context.Background(), key, charge)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(payment.ID, payment.Status, "attempts:", payment.Attempts, "replayed:",
		payment.Replayed)
	// Output: pay_1 succeeded attempts: 2 replayed: true
}

// The client has given up and does not know. The key does: later, or in another
// process, the same charge under the same key has the same one outcome.
func ExampleUnknownOutcomeError() {
	server := standIn(3, false)
	defer server.Close()
	payments := connect(server)
	defer payments.Close()
	ctx := context.Background()

	charge := client.Charge{
		Amount: 4999, Currency: "USD", SourceAccount: "alice",
		DestinationAccount: "shop",
	}
	_, err := payments.Charge(ctx, "order-1017", charge)
	if unknown, ok := errors.AsType[*client.UnknownOutcomeError](err); ok {
		fmt.Println("unknown after", unknown.Attempts, "attempts; to be continued under",
			unknown.Key)
	}

	payment, err := payments.Charge(ctx, "order-1017", charge)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(payment.ID, "replayed:", payment.Replayed)
	// Output:
	// unknown after 3 attempts; to be continued under order-1017
	// pay_1 replayed: true
}

// What to do about each kind of error.
func ExampleError() {
	server := standIn(0, true)
	defer server.Close()
	payments := connect(server)
	defer payments.Close()

	charge := client.Charge{
		Amount: 4999, Currency: "USD", SourceAccount: "bob",
		DestinationAccount: "shop",
	}
	_, err := payments.Charge(context.Background(), "order-1018", charge)
	no, said := errors.AsType[*client.Error](err)
	switch {
	case err == nil:
		fmt.Println("paid")
	case errors.Is(err, client.ErrUnknownOutcome):
		fmt.Println("keep the key, and try again later")
	case said && no.Declined():
		fmt.Println("declined:", no.Code, no.PaymentID, "- another attempt takes a new key")
	case said && no.Retry == client.RetrySameKey:
		fmt.Println("refused:", no.Detail, "- the key is still free")
	default:
		fmt.Println("nothing was done:", err)
	}
	// Output: declined: insufficient_funds pay_2 - another attempt takes a new key
}
