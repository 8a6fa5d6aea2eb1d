package client

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Options configure a client. A field that is left zero has its default.
type Options struct {
	// URL is the address of the service, such as https://payments.example.com. Required.
	URL string
	// APIKey is the merchant's API key, sk_…. Required.
	APIKey string
	// AllowPlaintext permits http:// to another machine, which shows the API key to the
	// network between. Without it, http:// works only to this machine.
	AllowPlaintext bool

	// Timeout is for a call with all its attempts and waits. Default: 1 minute. A context
	// may end the call sooner.
	Timeout time.Duration
	// AttemptTimeout is for one attempt. Default: 20 seconds. It should be above the
	// service's REQUEST_TIMEOUT (15 seconds), or the client misses its last answers.
	AttemptTimeout time.Duration
	// AttemptsMax is the largest number of attempts. Default: 8. With the default backoff
	// they cover 6 seconds on average.
	AttemptsMax int
	// BackoffBase is the longest wait before the second attempt. Default: 100
	// milliseconds. The limit doubles with each attempt, up to BackoffMax. Default: 10
	// seconds.
	BackoffBase, BackoffMax time.Duration
	// RetryAfterMax is the longest Retry-After that the client accepts. Default: 30
	// seconds. A longer one ends the call at once. So does one that the call's Timeout
	// does not allow.
	RetryAfterMax time.Duration
	// RetryBudget is the number of retries that all calls of this client share. Default:
	// 100. Ten answered calls add one retry. A negative budget allows none.
	RetryBudget int

	// OnRetry, if set, is called before the wait for another attempt. It must not block.
	OnRetry func(Retry)
	// UserAgent names the calling program. It comes before the client's name.
	UserAgent string
	// Transport sends a request once. It must not retry by itself, because the limits
	// here would not count that. Default: a transport of this package.
	Transport http.RoundTripper
}

// Retry is a failed attempt that another attempt will follow.
type Retry struct {
	Operation string // for people
	Key       Key    // of the call; "": it has none
	Attempt   int    // number of the failed attempt, from 1
	Err       error  // of the failed attempt
	Wait      time.Duration
}

const userAgent = "paymentsvc-client-go"

// Client calls the service for one merchant. It is safe for concurrent use. Keep one
// client, so that its calls share connections and the retry budget.
type Client struct {
	options   Options
	base      string // without a slash at the end
	http      *http.Client
	transport *http.Transport // the client's own; nil: the caller's is used
	budget    *budget
}

// New makes a client. It sends nothing.
func New(options Options) (*Client, error) {
	base, err := baseOf(options)
	if err != nil {
		return nil, err
	}
	if options.APIKey == "" ||
		strings.ContainsFunc(options.APIKey, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("an API key is required, and has no spaces")
	}
	c := &Client{options: options, base: base}
	if err := c.setDefaults(); err != nil {
		return nil, err
	}
	transport := options.Transport
	if transport == nil {
		c.transport = newTransport()
		transport = c.transport
	}
	c.http = &http.Client{
		Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
	return c, nil
}

// Close closes idle connections. Calls under way continue.
func (c *Client) Close() {
	if c.transport != nil {
		c.transport.CloseIdleConnections()
	}
}

// String names the client without its API key.
func (c *Client) String() string { return "paymentsvc client for " + c.base }

// GoString is String, so that %#v does not print the API key either.
func (c *Client) GoString() string { return c.String() }

func baseOf(options Options) (string, error) {
	at, err := url.Parse(options.URL)
	switch {
	case err != nil:
		// The error of url.Parse repeats the URL, which may hold a password.
		return "", errors.New("the service's URL must be https://HOST or http://HOST")
	case at.Scheme != "https" && at.Scheme != "http" || at.Hostname() == "":
		return "", errors.New("the service's URL must be https://HOST or http://HOST")
	case at.User != nil || at.RawQuery != "" || at.Fragment != "":
		return "", errors.New("the service's URL must not have a user, a query or a fragment")
	case at.Scheme == "http" && !options.AllowPlaintext && !loopback(at.Hostname()):
		return "", fmt.Errorf(
			"http:// would show the API key to the network before %s: use https://, or set "+
				"AllowPlaintext",
			at.Host,
		)
	}
	return strings.TrimRight(at.String(), "/"), nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (c *Client) setDefaults() error {
	o := &c.options
	o.Timeout = cmp.Or(o.Timeout, time.Minute)
	o.AttemptTimeout = cmp.Or(o.AttemptTimeout, 20*time.Second)
	o.AttemptsMax = cmp.Or(o.AttemptsMax, 8)
	o.BackoffBase = cmp.Or(o.BackoffBase, 100*time.Millisecond)
	o.BackoffMax = cmp.Or(o.BackoffMax, 10*time.Second)
	o.RetryAfterMax = cmp.Or(o.RetryAfterMax, 30*time.Second)
	o.RetryBudget = cmp.Or(o.RetryBudget, 100)
	if o.Timeout < 0 || o.AttemptTimeout < 0 || o.AttemptsMax < 0 || o.BackoffBase < 0 ||
		o.BackoffMax < 0 || o.RetryAfterMax < 0 {
		return errors.New("a limit of the client is negative")
	}
	c.budget = newBudget(max(0, o.RetryBudget))
	o.UserAgent = strings.TrimSpace(o.UserAgent + " " + userAgent)
	return nil
}

// newTransport is a transport for many calls to one host. The context of an attempt is
// its time limit.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    5 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    100,              // with the default, 2, many calls would connect
		IdleConnTimeout:        90 * time.Second, // the service closes idle ones after 2 minutes
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // answers are small, and their size stays bounded
	}
}
