// The program receiver prints the events that a webhook endpoint gets, once it has
// verified them. It ends after -n of them.
//
//	WEBHOOK_SECRET=whsec_… go run ./examples/receiver -listen 127.0.0.1:9000 -n 1
//
// It keeps nothing, so it prints an event again that comes again. A receiver with an
// effect stores the webhook-id in the transaction of that effect: see docs/webhooks.md.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// bodySizeMax is more than any event has.
const bodySizeMax = 1 << 20

func main() {
	listen := flag.String("listen", "127.0.0.1:9000", "address to listen at")
	n := flag.Int("n", 0, "number of events after which it ends; 0: never")
	flag.Parse()
	verifier, err := standardwebhooks.NewWebhook(os.Getenv("WEBHOOK_SECRET"))
	if err != nil || os.Getenv("WEBHOOK_SECRET") == "" {
		log.Fatal("WEBHOOK_SECRET is not the secret of a webhook endpoint")
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	events := make(chan string)
	server := &http.Server{Handler: receiver(verifier, events), ReadTimeout: 10 * time.Second}
	go func() { log.Fatal(server.Serve(listener)) }()
	for i := 0; *n == 0 || i < *n; i++ {
		fmt.Fprintln(os.Stdout, <-events)
	}
}

// receiver answers 204 to an event that is verified, after it was printed.
func receiver(verifier *standardwebhooks.Webhook, events chan<- string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodySizeMax))
		if err != nil || verifier.Verify(body, r.Header) != nil { // over the bytes as they came
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var event struct {
			Type      string `json:"type"`
			PaymentID string `json:"payment_id"`
		}
		if err := json.Unmarshal(body, &event); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		events <- fmt.Sprintf("verified: %s %s", event.Type, event.PaymentID)
		w.WriteHeader(http.StatusNoContent)
	}
}
