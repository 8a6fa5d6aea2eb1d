package client

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Options configure a client. What is left zero has the default that is named.
type Options struct {
	// URL is where the service is, for example https://payments.example.com. Required.
	URL string
	// APIKey is the merchant's, sk_…. Required.
	APIKey string
	// AllowPlaintext lets the API key travel over http:// to another machine, inside a
	// network that is private or encrypts by itself. To this machine, http:// needs no
	// permission.
	AllowPlaintext bool

	// Timeout is for a call, with all its attempts and waits: 1 minute. A context may
	// end it sooner.
	Timeout time.Duration
	// AttemptTimeout is for one attempt: 20 seconds. It should be above the service's
	// own REQUEST_TIMEOUT (15 seconds), or its word that it does not know yet comes too
	// late.
	AttemptTimeout time.Duration
	// AttemptsMax is how often a request is sent: 8 times, which with the default
	// backoff rides out 6 seconds on average.
	AttemptsMax int
	// BackoffBase and BackoffMax are what a wait is at most before the second attempt,
	// and before any: 100 milliseconds and 10 seconds. The first doubles with each
	// attempt.
	BackoffBase, BackoffMax time.Duration
	// RetryAfterMax is the longest wait that the service may ask for: 30 seconds. Asked
	// for a longer one, the call gives up at once, since an earlier attempt is not
	// welcome. A wait that would outlast the call's time ends it as well.
	RetryAfterMax time.Duration
	// RetryBudget is how many retries all calls of this client may have together before
	// calls that are answered have earned new ones, ten for one: 100. Negative: none at
	// all.
	RetryBudget int

	// OnRetry, if set, is told of each attempt that will be followed by another, before
	// the wait. It must not block.
	OnRetry func(Retry)
	// UserAgent names the caller's own program, and is put before the client's name.
	UserAgent string
	// Transport sends a request once. It must not try again by itself: that would be
	// beyond every limit that is set here. Nil: a transport of the client's own.
	Transport http.RoundTripper
}

// Retry is an attempt that did not settle its call, and will be followed by another.
type Retry struct {
	Operation string // for people: what is being tried
	Key       Key    // under which it goes on; "" if it has none
	Attempt   int    // that has failed, from 1
	Err       error  // how
	Wait      time.Duration
}

// userAgent is the client's own.
const userAgent = "paymentsvc-client-go"

// Client calls the service for one merchant. Any number of goroutines may use it at
// once. Make one and keep it: its connections and its retry budget are worth sharing.
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

// Close closes connections that are kept for later calls. Calls under way go on.
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
		// url.Parse repeats it, with what a password may be in
		return "", errors.New("the service's URL cannot be read")
	case at.Scheme != "https" && at.Scheme != "http" || at.Hostname() == "":
		return "", errors.New("the service's URL must be https://HOST or http://HOST")
	case at.User != nil || at.RawQuery != "" || at.Fragment != "":
		return "", errors.New(
			"the service's URL has a user, a query or a fragment, which mean nothing to it",
		)
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
	setDefault(&o.Timeout, time.Minute)
	setDefault(&o.AttemptTimeout, 20*time.Second)
	setDefault(&o.AttemptsMax, 8)
	setDefault(&o.BackoffBase, 100*time.Millisecond)
	setDefault(&o.BackoffMax, 10*time.Second)
	setDefault(&o.RetryAfterMax, 30*time.Second)
	setDefault(&o.RetryBudget, 100)
	if o.Timeout < 0 || o.AttemptTimeout < 0 || o.AttemptsMax < 0 || o.BackoffBase < 0 ||
		o.BackoffMax < 0 || o.RetryAfterMax < 0 {
		return errors.New("a limit of the client is negative")
	}
	c.budget = newBudget(max(0, o.RetryBudget))
	o.UserAgent = strings.TrimSpace(o.UserAgent + " " + userAgent)
	return nil
}

func setDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

// newTransport is a transport for many calls to one host. Its time limit of a whole
// attempt is the attempt's context.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{Timeout: 5 * time.Second,
			KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: 5 * time.Second,
		ForceAttemptHTTP2:   true,
		// two, the default, make a new connection for most calls of a busy caller
		MaxIdleConnsPerHost: 100,
		// before the service, which waits 2 minutes, closes them under a request
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // answers are small, and so is then what is read of them
	}
}
