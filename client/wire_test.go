package client_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/client"
)

// serve starts a server for a test that counts its requests and has read their bodies.
func serve(
	t *testing.T, handler func(n int64, w http.ResponseWriter, r *http.Request),
) (url string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		handler(requests.Add(1), w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, requests
}

// quick is for tests on a real network that are not about waits.
func quick(url string) client.Options {
	return client.Options{
		URL: url, APIKey: "sk_test", BackoffBase: time.Millisecond,
		BackoffMax: time.Millisecond,
	}
}

func writeYes(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, yes.body)
}

// hangUp ends the connection, with a reset if it is rude.
func hangUp(t *testing.T, w http.ResponseWriter, say string, rude bool) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = io.WriteString(conn, say)
	if rude {
		_ = conn.(*net.TCPConn).SetLinger(0)
	}
	_ = conn.Close()
}

// net/http sends a POST with an Idempotency-Key again by itself when a kept connection
// breaks. Here every attempt is one request, whether or not the operation has anything
// to say.
func TestAnAttemptIsOneRequest(t *testing.T) {
	t.Parallel()
	for name, rude := range map[string]bool{"closed": false, "reset": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, requests := serve(t, func(n int64, w http.ResponseWriter, _ *http.Request) {
				if n == 1 {
					writeYes(w)
				} else {
					hangUp(t, w, "", rude)
				}
			})
			options := quick(url)
			options.AttemptsMax = 3
			c := newClient(t, options)
			for i, call := range []func() error{
				func() error { _, err := c.Charge(t.Context(), "key", charge); return err },
				func() error { _, err := c.Cancel(t.Context(), "key", "pay_1"); return err },
				func() error {
					_, err := c.Capture(t.Context(), "key", "pay_1",
						client.CaptureRequest{})
					return err
				},
			} {
				requests.Store(0)
				// a connection to keep
				if _, err := c.Charge(t.Context(), "warm-up", charge); err != nil {
					t.Fatal(err)
				}
				err := call()
				unknown, ok := errors.AsType[*client.UnknownOutcomeError](err)
				if !ok || unknown.Attempts != 3 || requests.Load()-1 != 3 {
					t.Errorf("call %d: %d requests were received: %v", i, requests.Load()-1, err)
				}
			}
		})
	}
}

// What never had a connection has done nothing, and the caller may know that.
func TestUnsentRequestHasAKnownOutcome(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// it is never accepted from, and its queue of TLS handshakes stays unanswered
	defer listener.Close()
	options := quick("https://" + listener.Addr().String())
	options.AttemptTimeout, options.AttemptsMax = 100*time.Millisecond, 2
	if _, err := newClient(t, options).Charge(t.Context(), "key", charge); err == nil ||
		isUnknown(t, err, "key") {
		t.Errorf("no TLS connection: %v", err)
	}

	dials := 0
	options = quick("http://127.0.0.1:1")
	options.AttemptsMax = 3
	options.Transport = &http.Transport{DialContext: func(context.Context, string,
		string,
	) (net.Conn, error) {
		dials++
		return nil, syscall.ECONNREFUSED
	}}
	if _, err := newClient(t, options).Charge(t.Context(), "key", charge); err == nil ||
		isUnknown(t, err, "key") || dials != 3 {
		t.Errorf("refused: %v after %d dials", err, dials)
	}
}

func TestUntrustedServerGetsNothing(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter,
		*http.Request,
	) {
		t.Error("a request arrived")
	}))
	server.Config.ErrorLog = quietLog()
	server.StartTLS()
	defer server.Close()
	options := quick(server.URL)
	options.OnRetry = func(client.Retry) { t.Error("it was tried again") }
	_, err := newClient(t, options).Charge(t.Context(), "key", charge)
	if _, distrusted := errors.AsType[*tls.CertificateVerificationError](err); !distrusted ||
		isUnknown(t, err, "key") {
		t.Errorf("got %v", err)
	}
}

// A redirect would take the API key, and the charge, to somebody else, or make a GET of
// it.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere, requests := serve(t, func(_ int64, w http.ResponseWriter, _ *http.Request) {
		writeYes(w)
	})
	for _, status := range []int{301, 302, 303, 307, 308} {
		url, _ := serve(t, func(_ int64, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere+r.URL.Path, status)
		})
		if _, err := newClient(t, quick(url)).
			Charge(t.Context(), "key", charge); !isUnknown(t, err, "key") {
			t.Errorf("%d: %v", status, err)
		}
		if _, err := newClient(t, quick(url)).GetPayment(t.Context(), "pay_1"); err == nil {
			t.Errorf("%d: a GET was answered", status)
		}
	}
	if n := requests.Load(); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}

func TestEndlessAnswerIsCutOff(t *testing.T) {
	t.Parallel()
	chunk := bytes.Repeat([]byte(" "), 1<<20)
	var written atomic.Int64
	url, _ := serve(t, func(_ int64, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for range 200 {
			n, err := w.Write(chunk)
			written.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	if _, err := newClient(t, quick(url)).
		Charge(t.Context(), "key", charge); !isUnknown(t, err, "key") {
		t.Errorf("got %v", err)
	}
	if written.Load() > 100<<20 {
		t.Errorf("%d bytes were taken", written.Load())
	}
}
