package stripe_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

// listen serves TCP connections one by one in order, each by serve with its number.
func listen(t *testing.T, serve func(n int, conn net.Conn)) (address string) {
	t.Helper()
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for n := 1; ; n++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				serve(n, conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		running.Wait()
	})
	return "http://" + listener.Addr().String()
}

// readRequest reads one whole request.
func readRequest(r *bufio.Reader) error {
	request, err := http.ReadRequest(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, request.Body)
	return err
}

func answer(conn net.Conn, body string) {
	fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func wantUnknown(t *testing.T, err error, code string) {
	t.Helper()
	e, _ := errors.AsType[*stripe.Error](err)
	if e == nil || e.Outcome != stripe.Unknown || e.Code != code {
		t.Errorf("got %v, want an unknown outcome with code %q", err, code)
	}
}

// sendBare sends a POST with the body and without the SDK.
func sendBare(ctx context.Context, client *http.Client, address string, body io.Reader) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, body)
	if err != nil {
		return err
	}
	request.Header.Set("Idempotency-Key", "key")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// TestDroppedConnectionSendsNoSecondRequest lets the processor answer one call, read the
// next one on the same connection, and close. net/http would send that again.
func TestDroppedConnectionSendsNoSecondRequest(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(address string) func(context.Context) error{
		"with a body": func(address string) func(context.Context) error {
			c := newClient(address)
			return func(ctx context.Context) error {
				_, err := c.Capture(ctx, "key", "pi_1", usd)
				return err
			}
		},
		"with an empty body": func(address string) func(context.Context) error {
			c := newClient(address)
			return func(ctx context.Context) error {
				_, err := c.Confirm(ctx, "key", "pi_1")
				return err
			}
		},
		"without a body": func(address string) func(context.Context) error {
			client := stripe.NewHTTPClient(10 * time.Second)
			return func(ctx context.Context) error { return sendBare(ctx, client, address, nil) }
		},
		"with NoBody": func(address string) func(context.Context) error {
			client := stripe.NewHTTPClient(10 * time.Second)
			return func(ctx context.Context) error {
				return sendBare(ctx, client, address, http.NoBody)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var requests, reused atomic.Int32
			address := listen(t, func(_ int, conn net.Conn) {
				r := bufio.NewReader(conn)
				for n := 1; readRequest(r) == nil; n++ {
					requests.Add(1)
					if n == 2 {
						reused.Add(1)
						return
					}
					answer(conn, intentText)
				}
			})
			send := call(address)
			if err := send(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := send(t.Context()); stripe.OutcomeOf(err) != stripe.Unknown {
				t.Errorf("got %v, want an unknown outcome", err)
			}
			if requests.Load() != 2 || reused.Load() != 1 {
				t.Errorf("two calls were %d requests, %d of them on a kept connection",
					requests.Load(), reused.Load())
			}
		})
	}
}

func TestResetIsUnknown(t *testing.T) {
	for _, part := range []string{"", "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"} {
		t.Run(part, func(t *testing.T) {
			address := listen(t, func(_ int, conn net.Conn) {
				_ = readRequest(bufio.NewReader(conn))
				_, _ = io.WriteString(conn, part)
				_ = conn.(*net.TCPConn).SetLinger(0)
			})
			_, err := newClient(address).Confirm(t.Context(), "key", "pi_1")
			wantUnknown(t, err, stripe.CodeNoAnswer)
		})
	}
}

func TestNobodyListensIsUnknown(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	_, err = newClient("http://"+listener.Addr().String()).Confirm(t.Context(), "key", "pi_1")
	wantUnknown(t, err, stripe.CodeNoAnswer)
}

// TestSlowAnswerEndsAtTimeLimit sends bytes for as long as the client listens.
func TestSlowAnswerEndsAtTimeLimit(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{
		"silence":        "",
		"header drips":   "HTTP/1.1 200 OK\r\nX: ",
		"body drips":     "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
		"error's body":   "HTTP/1.1 402 Declined\r\nContent-Length: 99999999\r\n\r\n",
		"without length": "HTTP/1.1 200 OK\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			address := listen(t, func(_ int, conn net.Conn) {
				_ = readRequest(bufio.NewReader(conn))
				_, _ = io.WriteString(conn, head)
				for drip := time.NewTicker(10 * time.Millisecond); ; <-drip.C {
					if head == "" {
						_, _ = conn.Read(make([]byte, 1))
						return
					}
					if _, err := io.WriteString(conn, " "); err != nil {
						return
					}
				}
			})
			c := stripe.New(stripe.Config{
				SecretKey: secretKey, BaseURL: address, Timeout: 300 * time.Millisecond,
			})
			began := time.Now()
			_, err := c.Confirm(t.Context(), "key", "pi_1")
			wantUnknown(t, err, stripe.CodeNoAnswer)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the call took %v", took)
			}
		})
	}
}

func TestCanceledCallIsUnknown(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{
		"before an answer": "", "in the body": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			address := listen(t, func(_ int, conn net.Conn) {
				_ = readRequest(bufio.NewReader(conn))
				_, _ = io.WriteString(conn, head)
				cancel()
				_, _ = conn.Read(make([]byte, 1))
			})
			_, err := newClient(address).Confirm(ctx, "key", "pi_1")
			wantUnknown(t, err, stripe.CodeNoAnswer)
		})
	}
}

// TestLongAnswerIsCut sends an intent in ten megabytes of white space.
func TestLongAnswerIsCut(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 402} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			var sent atomic.Int64
			done := make(chan struct{})
			p := newProcessor(t, func(w http.ResponseWriter, _ *http.Request) {
				defer close(done)
				w.WriteHeader(status)
				for range 10 {
					n, err := io.WriteString(w, strings.Repeat(" ", 1<<20))
					sent.Add(int64(n))
					if err != nil {
						return
					}
				}
				_, _ = io.WriteString(w, intentText)
			})
			_, err := p.client().Confirm(t.Context(), "key", "pi_1")
			wantUnknown(t, err, stripe.CodeUnreadable)
			<-done
			t.Logf("%d bytes left the processor", sent.Load())
		})
	}
}

func TestAnswerOfOneMegabyteIsRead(t *testing.T) {
	p := newProcessor(t, answering(200, strings.Repeat(" ", 1<<20-len(intentText))+intentText))
	if _, err := p.client().Confirm(t.Context(), "key", "pi_1"); err != nil {
		t.Error(err)
	}
}

// TestEnvironmentsProxyGetsNothing calls an address that leads nowhere (RFC 5737): net/http
// has no proxy for this machine's own addresses.
func TestEnvironmentsProxyGetsNothing(t *testing.T) {
	t.Parallel()
	c := stripe.New(stripe.Config{
		SecretKey: secretKey, BaseURL: "http://192.0.2.1", Timeout: 200 * time.Millisecond,
	})
	_, err := c.Confirm(t.Context(), "key", "pi_1")
	wantUnknown(t, err, stripe.CodeNoAnswer)
	if err := environmentProxy.SetDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if conn, err := environmentProxy.Accept(); err == nil {
		conn.Close()
		t.Error("the client used the environment's proxy")
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			p := newProcessor(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(status)
			})
			_, err := p.client().Confirm(t.Context(), "key", "pi_1")
			wantUnknown(t, err, stripe.CodeUnreadable)
			if n := len(p.got()); n != 1 {
				t.Errorf("one call was %d requests", n)
			}
		})
	}
}

func TestServerErrorIsNotRetried(t *testing.T) {
	t.Parallel()
	for _, status := range []int{409, 429, 500, 503} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			p := newProcessor(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Stripe-Should-Retry", "true")
				w.WriteHeader(status)
			})
			_, err := p.client().Confirm(t.Context(), "key", "pi_1")
			wantUnknown(t, err, stripe.CodeUnreadable)
			if n := len(p.got()); n != 1 {
				t.Errorf("one call was %d requests", n)
			}
		})
	}
}

func TestRequestsSayNothingOfTheMachine(t *testing.T) {
	p := newProcessor(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Request-Id", "req_1") // the SDK's telemetry begins after an answer with it
		_, _ = io.WriteString(w, intentText)
	})
	c := p.client()
	for range 2 {
		if _, err := c.Confirm(t.Context(), "key", "pi_1"); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range p.got() {
		names := slices.Sorted(maps.Keys(r.header))
		want := []string{
			"Accept-Encoding", "Authorization", "Content-Type", "Idempotency-Key",
			"Stripe-Version", "User-Agent",
		}
		if !slices.Equal(names, want) {
			t.Errorf("the headers are %v, want %v", names, want)
		}
		if got := r.header.Get("User-Agent"); got != "Stripe/v1 GoBindings/84.4.1" {
			t.Errorf("the user agent is %q", got)
		}
	}
}
