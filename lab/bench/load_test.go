package bench

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// request is a charge as the server got it.
type request struct {
	Amount      int    `json:"amount"`
	Currency    string `json:"currency"`
	Source      string `json:"source_account"`
	Destination string `json:"destination_account"`
	key         string
}

// newClient connects to a server that gives every charge this answer.
func newClient(t *testing.T, pattern Pattern, answer func(http.ResponseWriter, request)) *client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		charged := request{key: r.Header.Get("Idempotency-Key")}
		err := json.UnmarshalRead(r.Body, &charged)
		if err != nil || r.URL.Path != "/payments" ||
			r.Header.Get("Authorization") != "Bearer sk_test" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		answer(w, charged)
	}))
	t.Cleanup(server.Close)
	s := &service{address: server.Listener.Addr().String(), apiKey: "sk_test"}
	c, err := s.dial(t.Context(), load{accounts: 5, pattern: pattern})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

func created(w http.ResponseWriter, amount int) {
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"id":"pay_1","amount":%d,"currency":"USD"}`, amount)
}

func TestChargesHaveNewKeysAndTheAccountsOfTheirPattern(t *testing.T) {
	t.Parallel()
	const charges = 200
	for _, pattern := range []Pattern{Uniform, Hot} {
		keys, sources, destinations := map[string]bool{}, map[string]bool{}, map[string]bool{}
		c := newClient(t, pattern, func(w http.ResponseWriter, r request) {
			keys[r.key], sources[r.Source], destinations[r.Destination] = true, true, true
			hot := r.Source == accountID(0) || r.Destination == accountID(0)
			if r.Source == r.Destination || pattern == Hot && !hot || r.Currency != "USD" ||
				len(r.key) != 32 {
				t.Errorf("%s: %+v", pattern, r)
			}
			created(w, r.Amount)
		})
		for range charges {
			if _, err := c.charge(); err != nil {
				t.Fatal(err)
			}
		}
		if len(keys) != charges || len(sources) != 5 || len(destinations) != 5 {
			t.Errorf("%s: %d charges had %d keys, %d sources and %d destinations",
				pattern, charges, len(keys), len(sources), len(destinations))
		}
	}
}

func TestWrongAnswerEndsTheMeasurement(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(http.ResponseWriter, request){
		"declined": func(w http.ResponseWriter, r request) {
			w.WriteHeader(http.StatusPaymentRequired)
			fmt.Fprintf(w, `{"amount":%d,"currency":"USD"}`, r.Amount)
		},
		"another amount": func(w http.ResponseWriter, r request) { created(w, r.Amount+1) },
		"more digits":    func(w http.ResponseWriter, r request) { created(w, r.Amount*10) },
		"no amount":      func(w http.ResponseWriter, _ request) { w.WriteHeader(201) },
		"a replay": func(w http.ResponseWriter, r request) {
			w.Header().Set("Idempotent-Replayed", "true")
			created(w, r.Amount)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := newClient(t, Uniform, answer).charge()
			if err == nil || !strings.Contains(err.Error(), "was answered HTTP/1.1") {
				t.Errorf("got %v, want an error with the answer", err)
			}
		})
	}
}
