package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/process"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// The command's default secret opens its API, and its books are kept over a restart.
func TestSimulateProcessorKeepsItsBooks(t *testing.T) {
	t.Parallel()
	address := fmt.Sprintf("127.0.0.1:%d", process.FreePort())
	file := filepath.Join(t.TempDir(), "books")
	for want := 1; want <= 2; want++ {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan int)
		var said output
		go func() {
			args := []string{"simulate-processor", "--listen", address, "--books", file}
			ended <- run(ctx, args, terminal{out: &said, err: &said})
		}()
		await.Until(t, 20*time.Second, "an intent", func() bool {
			return ask(t, http.MethodPost, address,
				"/v1/payment_intents?amount=100&currency=usd") != ""
		})
		all := ask(t, http.MethodGet, address, "/books")
		if got := strings.Count(all, `"id":"pi_`); got != want {
			t.Errorf("%d intents, want %d: %s", got, want, all)
		}
		stop()
		if code := <-ended; code != 0 {
			t.Errorf("exit code %d: %s", code, said.String())
		}
	}
}

// ask returns the body of a 200, and "" if there is none yet.
func ask(t *testing.T, method, address, path string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+simulator.DefaultSecret)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %s, %v", method, path, response.Status, body, err)
	}
	return string(body)
}
