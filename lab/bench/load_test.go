package bench

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/paymentsvc/paymentsvc/lab/await"
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

// stubService is a service whose answers come from this function.
func stubService(
	t *testing.T, answer func(w http.ResponseWriter, r *http.Request, amount int),
) *service {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var charged struct {
			Amount int `json:"amount"`
		}
		if err := json.UnmarshalRead(r.Body, &charged); err != nil {
			t.Error(err)
		}
		answer(w, r, charged.Amount)
	}))
	t.Cleanup(server.Close)
	return &service{address: server.Listener.Addr().String(), apiKeys: []string{"key"}}
}

func TestQuietMerchantIsOneMoreAndPauses(t *testing.T) {
	t.Parallel()
	var quiet atomic.Int64
	s := stubService(t, func(w http.ResponseWriter, r *http.Request, amount int) {
		if r.Header.Get("Authorization") == "Bearer quiet" {
			quiet.Add(1)
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"amount":%d,"currency":"USD"}`, amount)
	})
	s.quietKey = "quiet"
	begin := time.Now()
	charges, err := s.charge(t.Context(), load{connections: 2, accounts: 5},
		func(context.Context, int) error {
			await.Until(t, time.Minute, "three quiet charges", func() bool {
				return quiet.Load() >= 3
			})
			return nil
		})
	if took := time.Since(begin); err != nil || took < 2*quietInterval {
		t.Errorf("three charges took %v, %v", took, err)
	}
	busy := len(charges) - int(quiet.Load())
	charges = slices.DeleteFunc(charges, func(c charge) bool { return c.quiet })
	if len(charges) != busy || busy == 0 {
		t.Errorf("%d charges of the load, want %d", len(charges), busy)
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
			s := stubService(t, func(w http.ResponseWriter, _ *http.Request, amount int) {
				answer(w, amount)
			})
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
