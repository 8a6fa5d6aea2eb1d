package journal

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// Go's transport sends a request with an Idempotency-Key again, on its own, when a kept
// connection breaks. A client that does so hides every second fault from the tests.
func TestClientSendsARequestOnce(t *testing.T) {
	t.Parallel()
	var received atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil || r.URL.Path == "/warm-up" {
			return
		}
		received.Add(1)
		panic(http.ErrAbortHandler) // the connection is cut without an answer
	}))
	defer server.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	m := &Merchant{HTTP: &http.Client{Transport: transport}}
	if answer := m.Do(t.Context(), http.MethodPost, server.URL+"/warm-up", "key",
		[]byte("{}")); answer.Status != http.StatusOK {
		t.Fatal(answer)
	}
	if answer := m.Charge(t.Context(), server.URL, "key",
		NewCharge(1)); answer.Class() != Unknown {
		t.Errorf("a cut connection was read as %v", answer)
	}
	if n := received.Load(); n != 1 {
		t.Errorf("the request was sent %d times", n)
	}
}

func TestOutcomesHaveThreeClasses(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]Class{
		200: Ack, 201: Ack,
		400: Refusal, 402: Refusal, 404: Refusal, 422: Refusal,
		0: Unknown, 409: Unknown, 429: Unknown, 500: Unknown, 503: Unknown,
	} {
		if got := (Answer{Status: status}).Class(); got != want {
			t.Errorf("%d has class %d, want %d", status, got, want)
		}
	}
	if got := (Answer{Status: 201, Err: io.ErrUnexpectedEOF}).Class(); got != Unknown {
		t.Errorf("half an answer has class %d", got)
	}
}
