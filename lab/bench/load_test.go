package bench

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

func TestAccountsFollowThePattern(t *testing.T) {
	t.Parallel()
	for _, pattern := range []Pattern{Uniform, Hot} {
		c := client{load: load{accounts: 5, pattern: pattern}}
		sources, destinations, cold := map[int]bool{}, map[int]bool{}, 0
		for range 200 {
			source, destination := c.accounts()
			sources[source], destinations[destination] = true, true
			if source != 0 && destination != 0 {
				cold++
			}
			if source == destination {
				t.Errorf("%s: account %d pays itself", pattern, source)
			}
		}
		if len(sources) != 5 || len(destinations) != 5 || (pattern == Hot) != (cold == 0) {
			t.Errorf("%s: %d sources, %d destinations, %d charges without the hot account",
				pattern, len(sources), len(destinations), cold)
		}
	}
}

func TestWrongAnswerEndsTheMeasurement(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(w http.ResponseWriter, amount int){
		"declined": func(w http.ResponseWriter, amount int) {
			w.WriteHeader(http.StatusPaymentRequired)
			fmt.Fprintf(w, `{"amount":%d,"currency":"USD"}`, amount)
		},
		"more digits": func(w http.ResponseWriter, amount int) {
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, `{"amount":%d,"currency":"USD"}`, amount*10)
		},
		"a replay": func(w http.ResponseWriter, amount int) {
			w.Header().Set("Idempotent-Replayed", "true")
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, `{"amount":%d,"currency":"USD"}`, amount)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter,
				r *http.Request,
			) {
				var charged struct {
					Amount int `json:"amount"`
				}
				if err := json.UnmarshalRead(r.Body, &charged); err != nil {
					t.Error(err)
				}
				answer(w, charged.Amount)
			}))
			t.Cleanup(server.Close)
			s := &service{address: server.Listener.Addr().String(), apiKeys: []string{"key"}}
			c, err := s.dial(t.Context(), load{accounts: 5})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.close)
			if _, err = c.charge(); err == nil ||
				!strings.Contains(err.Error(), "was answered HTTP/1.1") {
				t.Errorf("got %v, want an error with the answer", err)
			}
		})
	}
}
