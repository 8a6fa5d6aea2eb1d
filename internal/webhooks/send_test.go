package webhooks_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/webhooks"
	"github.com/paymentsvc/paymentsvc/lab/await"
)

// awaitAttempt waits for the first attempt at the endpoint.
func (b *bench) awaitAttempt(s *webhooks.Service, id string) (first webhooks.Attempt) {
	b.t.Helper()
	await.Until(b.t, patience, "there is an attempt", func() bool {
		attempts := b.attempts(s, id)
		if len(attempts) == 0 {
			return false
		}
		first = attempts[len(attempts)-1]
		return true
	})
	return first
}

// The names resolve to this machine, and the service is not allowed to call it. The
// address that is used is what counts, so a name that leads elsewhere the second time is
// refused like an address.
func TestReceiverInAPrivateNetworkIsRefused(t *testing.T) {
	b := newBench(t)
	to := newReceiver(t, nil)
	_, port, err := net.SplitHostPort(to.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s := b.service(func(c *webhooks.Config) { c.AllowPrivateAddresses = false })
	hosts := []string{
		"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433",
		"0x7f.1", "[64:ff9b::7f00:1]", "10.0.0.1", "169.254.169.254",
	}
	for i, host := range hosts {
		b.put(s, fmt.Sprint(i), webhooks.Terms{URL: "http://" + host + ":" + port})
	}
	b.run(s)
	b.insert(1, "payment.succeeded")
	for i, host := range hosts {
		got := b.awaitAttempt(s, fmt.Sprint(i))
		if got.Error == nil {
			t.Fatalf("%s: a request arrived", host)
		}
		// Some systems do not resolve these spellings of a number.
		number := host == "2130706433" || host == "0x7f.1"
		notFound := number && *got.Error == "the host name was not found"
		if *got.Error != "refused: the receiver's address is not a public one" && !notFound {
			t.Errorf("%s: %s", host, *got.Error)
		}
	}
	if n := len(to.got()); n != 0 {
		t.Errorf("a request arrived %d times", n)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	b := newBench(t)
	elsewhere := newReceiver(t, nil)
	to := newReceiver(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	})
	s := b.service()
	b.put(s, "shop", webhooks.Terms{URL: to.URL})
	b.run(s)
	b.insert(1, "payment.succeeded")
	if got := b.awaitAttempt(s, "shop"); *got.StatusCode != http.StatusTemporaryRedirect {
		t.Errorf("the attempt is %+v", got)
	}
	if len(elsewhere.got()) != 0 || s.Stats().Delivered != 0 {
		t.Error("the redirect was followed, or taken for a success")
	}
}

// endless counts what it could write before the client closed the connection.
type endless struct{ written atomic.Int64 }

func (e *endless) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	line := []byte(strings.Repeat("a\x00\xff", 1<<10))
	for e.written.Load() < 1<<30 {
		n, err := w.Write(line)
		e.written.Add(int64(n))
		if err != nil {
			return
		}
	}
}

func TestEndlessAnswerIsCut(t *testing.T) {
	b := newBench(t)
	var answer endless
	to := newReceiver(t, answer.ServeHTTP)
	s := b.service()
	b.put(s, "shop", webhooks.Terms{URL: to.URL})
	b.run(s)
	b.insert(1, "payment.succeeded")
	got := b.awaitAttempt(s, "shop")
	if *got.StatusCode != 200 || !strings.HasPrefix(got.Response, "a\uFFFD") ||
		len(got.Response) > 4<<10 {
		t.Errorf("the attempt is %+v", got)
	}
	if n := answer.written.Load(); n > 64<<20 {
		t.Errorf("the receiver could write %d bytes", n)
	}
}

// A receiver that sends a byte now and then cannot hold a worker longer than the limit.
func TestDrippingReceiverIsCut(t *testing.T) {
	b := newBench(t)
	to := newReceiver(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
			if _, err := conn.Write([]byte("H")); err != nil {
				return
			}
		}
	})
	s := b.service(func(c *webhooks.Config) { c.Schedule.Timeout = 300 * time.Millisecond })
	b.put(s, "shop", webhooks.Terms{URL: to.URL})
	b.run(s)
	b.insert(1, "payment.succeeded")
	got := b.awaitAttempt(s, "shop")
	if got.StatusCode != nil || got.LatencyMS > 5000 {
		t.Errorf("the attempt is %+v", got)
	}
}

// The certificate of httptest is trusted by nobody.
func TestCertificateIsVerified(t *testing.T) {
	b := newBench(t)
	to := httptest.NewTLSServer(status(http.StatusOK))
	t.Cleanup(to.Close)
	s := b.service()
	b.put(s, "shop", webhooks.Terms{URL: to.URL})
	b.run(s)
	b.insert(1, "payment.succeeded")
	if got := b.awaitAttempt(s, "shop"); got.Error == nil ||
		*got.Error != "the receiver's certificate is not valid" {
		t.Errorf("the attempt is %+v", got)
	}
}

// Nothing of the service's own goes to a receiver.
func TestRequestCarriesNoCredentials(t *testing.T) {
	b := newBench(t)
	to := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
	})
	s := b.service()
	b.put(s, "shop", webhooks.Terms{URL: to.URL})
	b.run(s)
	to.await(t, b.insert(3, "payment.succeeded"))
	for _, c := range to.got() {
		for name := range c.header {
			switch name {
			case "Accept-Encoding", "Content-Length", "Content-Type", "User-Agent", "Webhook-Id",
				"Webhook-Signature", "Webhook-Timestamp":
			default:
				t.Errorf("the request has %s", name)
			}
		}
	}
}
