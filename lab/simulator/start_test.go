package simulator_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v84"

	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// short are delays that tests can wait for.
var short = simulator.Delays{
	Hold: time.Minute, Slow: 50 * time.Millisecond, Drip: time.Millisecond,
	Hang: 300 * time.Millisecond, Processing: 50 * time.Millisecond, Retry: 5 * time.Millisecond,
}

// start starts a simulator. At the test's end no money may have been taken twice.
func start(t *testing.T, o simulator.Options) *simulator.Server {
	t.Helper()
	if o.BooksFile == "" {
		o.BooksFile = filepath.Join(t.TempDir(), "books")
	}
	if o.Delays == (simulator.Delays{}) {
		o.Delays = short
	}
	s, err := simulator.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, i := range books(t, s).Intents {
			if i.TimesTaken > 1 {
				t.Errorf("money was taken twice: %+v", i)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func books(t *testing.T, s *simulator.Server) simulator.Books {
	t.Helper()
	all, err := s.Books()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// only is the one intent of the books.
func only(t *testing.T, s *simulator.Server) simulator.BookIntent {
	t.Helper()
	all := books(t, s)
	if len(all.Intents) != 1 {
		t.Fatalf("the books have %d intents: %+v", len(all.Intents), all)
	}
	return all.Intents[0]
}

func setFaults(t *testing.T, s *simulator.Server, f simulator.Faults) {
	t.Helper()
	if err := s.SetFaults(f); err != nil {
		t.Fatal(err)
	}
}

// sdk is Stripe's own client. It does not retry.
func sdk(s *simulator.Server) *stripe.Client {
	return stripe.NewClient(simulator.DefaultSecret, stripe.WithBackends(
		stripe.NewBackendsWithConfig(&stripe.BackendConfig{
			URL: stripe.String(s.URL()), MaxNetworkRetries: stripe.Int64(0), HTTPClient: client,
			LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull},
		})))
}

// client keeps no connections, so that none is left at the end.
var client = &http.Client{
	Transport: &http.Transport{DisableKeepAlives: true},
}

// reply is an answer of the API.
type reply struct {
	status int
	header http.Header
	body   string
	object
}

// object are the members of answers that tests look at.
type object struct {
	ID     string
	Status string
	Error  struct {
		Type, Code, Message, Param string
		DeclineCode                string `json:"decline_code"`
		PaymentIntent              struct {
			ID, Status string
		} `json:"payment_intent"`
	}
}

// post sends a form. Parameters are written as in "amount=100&currency=usd".
func post(t *testing.T, base, path, key, form string) reply {
	t.Helper()
	r, err := send(t.Context(), base, path, key, form)
	if err != nil {
		t.Fatalf("POST %s: %v", path, err)
	}
	return r
}

// send is post for requests that may get no answer.
func send(ctx context.Context, base, path, key, form string) (reply, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, base+path,
		strings.NewReader(form))
	if err != nil {
		return reply{}, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Idempotency-Key", key)
	return do(request)
}

func do(request *http.Request) (reply, error) {
	request.Header.Set("Authorization", "Bearer "+simulator.DefaultSecret)
	response, err := client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return reply{}, err
	}
	r := reply{status: response.StatusCode, header: response.Header, body: string(body)}
	_ = json.Unmarshal(body, &r.object) // garbage has none of them
	return r, nil
}

func get(t *testing.T, base, path string) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := do(request)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// page posts JSON to a page for tests.
func page(t *testing.T, base, path, body string) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+path,
		strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r, err := do(request)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const intents = "/v1/payment_intents"

// form makes the parameters of an intent.
func form(card string, more ...string) string {
	values := url.Values{
		"amount": {"1000"}, "currency": {"usd"}, "payment_method": {card},
		"payment_method_types[]": {"card"},
	}
	for i := 0; i < len(more); i += 2 {
		values.Set(more[i], more[i+1])
	}
	return values.Encode()
}

// create makes an intent that is not confirmed, and returns its path.
func create(t *testing.T, s *simulator.Server, card string, more ...string) string {
	t.Helper()
	r := post(t, s.URL(), intents, "", form(card, more...))
	if r.status != http.StatusOK || r.Status != "requires_confirmation" {
		t.Fatalf("creating: %d %s", r.status, r.body)
	}
	return intents + "/" + r.ID
}

// charge makes an intent that has succeeded, and returns its id.
func charge(t *testing.T, s *simulator.Server, card string) string {
	t.Helper()
	r := post(t, s.URL(), intents, "", form(card, "confirm", "true"))
	if r.status != http.StatusOK || r.Status != "succeeded" {
		t.Fatalf("charging: %d %s", r.status, r.body)
	}
	return r.ID
}
