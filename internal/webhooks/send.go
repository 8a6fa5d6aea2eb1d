package webhooks

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	connectTimeout  = 5 * time.Second
	idleTimeout     = 30 * time.Second
	headerSizeMax   = 16 << 10
	answerSizeMax   = 4 << 10 // what is read of an answer's body
	responseSizeMax = 1 << 10 // what is kept of it
)

// newClient makes a client that carries nothing of its own to a receiver: no cookies, no
// credentials, no proxy of the environment. It follows no redirect, because the target
// was not chosen by the merchant.
func newClient(timeout time.Duration, allowPrivate bool) *http.Client {
	dialer := &net.Dialer{Timeout: connectTimeout, Control: refusePrivate}
	if allowPrivate {
		dialer.Control = nil
	}
	return &http.Client{
		Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
		Transport: &http.Transport{
			Proxy:                  nil,
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    connectTimeout,
			MaxResponseHeaderBytes: headerSizeMax,
			DisableCompression:     true, // the limits count what is read
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           sendsMax,
			MaxIdleConnsPerHost:    sendsPerEndpoint,
			IdleConnTimeout:        idleTimeout,
		},
	}
}

// message is what is sent.
type message struct {
	url     string
	id      string
	body    []byte   // signed and sent as it is
	secrets []string // each signs; the current one first
}

// answer is what came of one try.
type answer struct {
	statusCode int           // 0: none
	err        error         // why there is no status code
	response   string        // the first bytes of the body
	retryAfter time.Duration // zero: not said
	took       time.Duration
}

func (a *answer) ok() bool { return a.statusCode >= 200 && a.statusCode <= 299 }

// post sends the message once. now is the database's clock.
func post(ctx context.Context, client *http.Client, m *message, now time.Time) (a answer) {
	began := time.Now()
	defer func() { a.took = time.Since(began) }()
	request, err := newRequest(ctx, m, now)
	if err != nil {
		return answer{err: err}
	}
	res, err := client.Do(request)
	if err != nil {
		return answer{err: err}
	}
	defer res.Body.Close()
	// The status code decides. A body that breaks off or drips is cut, and no error.
	body, _ := io.ReadAll(io.LimitReader(res.Body, answerSizeMax))
	return answer{
		statusCode: res.StatusCode,
		response:   printable(body),
		retryAfter: retryAfter(res.Header.Get("Retry-After"), now),
	}
}

func newRequest(ctx context.Context, m *message, now time.Time) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url,
		strings.NewReader(string(m.body)))
	if err != nil {
		return nil, err
	}
	signatures := make([]string, len(m.secrets))
	for i, secret := range m.secrets {
		signer, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			return nil, errors.New("the secret cannot be read") // the error may show it
		}
		if signatures[i], err = signer.Sign(m.id, now, m.body); err != nil {
			return nil, err
		}
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "paymentsvc-webhooks")
	request.Header.Set(standardwebhooks.HeaderWebhookID, m.id)
	request.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	request.Header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	return request, nil
}

// printable is the beginning of a body as text that Postgres can store.
func printable(body []byte) string {
	text := strings.ToValidUTF8(string(body[:min(len(body), responseSizeMax)]), "\uFFFD")
	return strings.ReplaceAll(text, "\x00", "\uFFFD")
}

// retryAfter reads a Retry-After header: seconds or a time (RFC 9110, section 10.2.3).
func retryAfter(text string, now time.Time) time.Duration {
	const secondsMax = 1 << 30 // the schedule has a lower limit
	if seconds, err := strconv.ParseUint(text, 10, 63); err == nil {
		return time.Duration(min(seconds, secondsMax)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// explain says why there was no answer, in words that tell the merchant nothing about the
// service's network: no address that a name led to, no name server, no path.
func explain(err error) string {
	var refused *net.OpError
	var lookup *net.DNSError
	var verification *tls.CertificateVerificationError
	var wrapped *url.Error
	switch {
	case errors.Is(err, errNotPublic):
		return "refused: the receiver's address is not a public one"
	case errors.As(err, &wrapped) && wrapped.Timeout():
		return "timed out"
	case errors.As(err, &lookup):
		return "the host name was not found"
	case errors.As(err, &verification):
		return "the receiver's certificate is not valid"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	case errors.As(err, &refused) && refused.Op == "dial":
		return "the receiver cannot be reached"
	}
	return "the connection failed before an answer"
}
