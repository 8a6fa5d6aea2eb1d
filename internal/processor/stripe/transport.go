package stripe

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/stripe/stripe-go/v84"
)

const (
	answerSizeMax   = 1 << 20 // of a body, after decompression
	headerSizeMax   = 64 << 10
	connectTimeout  = 5 * time.Second
	idleTimeout     = 20 * time.Second // shorter than a server's, which could cut a call
	idleConnections = 64
)

// newHTTPClient makes a client that sends the secret key to the processor only: it uses
// no proxy of the environment, and transport follows no redirect.
func newHTTPClient(timeout time.Duration) *http.Client {
	// A call has a connection of its own. With HTTP/2 a stalled connection would stall all.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Client{
		Timeout: timeout, // reading the body included
		Transport: &transport{next: &http.Transport{
			Proxy:                  nil,
			DialContext:            (&net.Dialer{Timeout: connectTimeout}).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    connectTimeout,
			MaxResponseHeaderBytes: headerSizeMax,
			MaxIdleConns:           idleConnections,
			MaxIdleConnsPerHost:    idleConnections,
			IdleConnTimeout:        idleTimeout,
			Protocols:              protocols,
		}},
	}
}

// exchange is what the transport has seen of a call's answer. The SDK does not return
// the status and the headers of an answer that it cannot read.
type exchange struct {
	statusCode int // 0: no answer
	header     http.Header
}

type exchangeKey struct{}

// seenBy is the exchange in the context of a call. Without one, it is a new one, which
// nobody reads.
func seenBy(ctx context.Context) *exchange {
	if seen, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return seen
	}
	return &exchange{}
}

// transport sends each request once, and limits the answer.
type transport struct{ next http.RoundTripper }

func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	forbidReplay(request)
	// The SDK describes the machine in these: its name, its kernel, its environment.
	request.Header.Del("X-Stripe-Client-User-Agent")
	request.Header.Set("User-Agent", "Stripe/v1 GoBindings/"+stripe.ClientVersion)
	response, err := t.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	seen := seenBy(request.Context())
	seen.statusCode, seen.header = response.StatusCode, response.Header
	if response.StatusCode < 200 || response.StatusCode >= 300 && response.StatusCode < 400 {
		// A redirect would send the key elsewhere, or its body would pass for the object.
		response.Body.Close()
		return nil, fmt.Errorf("the processor answered with status %d", response.StatusCode)
	}
	response.Body = http.MaxBytesReader(nil, response.Body, answerSizeMax)
	return response, nil
}

// forbidReplay keeps net/http from sending a request again when a kept-alive connection
// drops after the request was written. It would do so for a request with an
// Idempotency-Key whose body is empty or can be read a second time
// (http.Request.isReplayable).
func forbidReplay(request *http.Request) {
	request.GetBody = nil
	if request.Method == http.MethodPost && (request.Body == nil || request.Body == http.NoBody) {
		request.Body = struct{ io.ReadCloser }{http.NoBody}
	}
}
