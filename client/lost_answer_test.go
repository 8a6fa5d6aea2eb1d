package client_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/paymentsvc/paymentsvc/client"
)

// Each charge was carried out, and its answer lost on the way: each second attempt is a
// replay.
func TestALostAnswerIsReplayed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.furnish()
	for name, spoil := range map[string]func(*http.Response) (*http.Response, error){
		"no answer": func(r *http.Response) (*http.Response, error) {
			_ = r.Body.Close()
			return nil, fmt.Errorf("lost by the test: %w", io.EOF)
		},
		"half an answer": func(r *http.Response) (*http.Response, error) {
			half := io.LimitReader(r.Body, r.ContentLength/2)
			r.Body = struct {
				io.Reader
				io.Closer
			}{io.MultiReader(half, broken{}), r.Body}
			return r, nil
		},
		"a gateway's page": func(r *http.Response) (*http.Response, error) {
			_ = r.Body.Close()
			return page(http.StatusGatewayTimeout).response(r.Request)
		},
	} {
		t.Run(name, func(t *testing.T) {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			nth := 0
			options := quick(b.url)
			options.APIKey = b.apiKey
			options.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				answer, err := transport.RoundTrip(r)
				nth++
				if err != nil || nth%2 == 0 {
					return answer, err
				}
				if answer.Header.Get("Idempotent-Replayed") != "" {
					t.Error("the first attempt was a replay")
				}
				return spoil(answer)
			})
			c := newClient(t, options)
			for i := range 3 {
				paid, err := c.Charge(t.Context(), client.NewKey(), client.Charge{
					Amount: int64(i + 1), Currency: "USD", SourceAccount: "world",
					DestinationAccount: "shop",
				})
				if err != nil {
					t.Fatal(err)
				}
				if !paid.Replayed || paid.Attempts != 2 || paid.Amount != int64(i+1) {
					t.Errorf("charge %d: %+v", i, paid)
				}
			}
		})
	}
	b.balance("shop", 3*(1+2+3), 0)
	if n := len(collect(t, b.Payments(t.Context(), client.PaymentFilter{}))); n != 9 {
		t.Errorf("%d payments", n)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// broken is a body that ends too soon.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
