package simulator

import (
	"cmp"
	"log/slog"
	"time"
)

// Defaults of the options.
const (
	DefaultListen    = "127.0.0.1:12111"
	DefaultSecret    = "sk_test_simulator"
	DefaultKeyWindow = 24 * time.Hour

	// DefaultAPIVersion is the version that stripe-go v84.4.1 pins. That SDK refuses events
	// of another release.
	DefaultAPIVersion = "2026-02-25.clover"

	// DefaultWebhookSecret signs the events.
	DefaultWebhookSecret = "whsec_simulator"
)

// Options of a simulator.
type Options struct {
	Listen        string        // an address; "": a free port of the loopback interface
	BooksFile     string        // made if it is missing
	Secret        string        // callers send it as their API key
	WebhookURL    string        // "": events wait until SetWebhookURL
	WebhookSecret string        // signs the events
	APIVersion    string        // of the events
	KeyWindow     time.Duration // after it, an idempotency key is forgotten
	Delays        Delays
	Logger        *slog.Logger // nil: no logs
}

// Delays are the times that faults take. Zero means the default.
type Delays struct {
	Hold       time.Duration // a held answer, if the client waits that long; 60 s
	Slow       time.Duration // an answer of pm_sim_slow; 2 s
	Drip       time.Duration // between two bytes of pm_sim_slow_drip; 1 s
	Hang       time.Duration // before a hanging request does anything; 30 s
	Processing time.Duration // until a payment or refund leaves its interim status; 3 s
	Retry      time.Duration // before the first retry of an event; 250 ms
}

func (o Options) withDefaults() Options {
	o.Listen = cmp.Or(o.Listen, "127.0.0.1:0")
	o.Secret = cmp.Or(o.Secret, DefaultSecret)
	o.WebhookSecret = cmp.Or(o.WebhookSecret, DefaultWebhookSecret)
	o.APIVersion = cmp.Or(o.APIVersion, DefaultAPIVersion)
	o.KeyWindow = cmp.Or(o.KeyWindow, DefaultKeyWindow)
	o.Delays = Delays{
		Hold:       cmp.Or(o.Delays.Hold, time.Minute),
		Slow:       cmp.Or(o.Delays.Slow, 2*time.Second),
		Drip:       cmp.Or(o.Delays.Drip, time.Second),
		Hang:       cmp.Or(o.Delays.Hang, 30*time.Second),
		Processing: cmp.Or(o.Delays.Processing, 3*time.Second),
		Retry:      cmp.Or(o.Delays.Retry, 250*time.Millisecond),
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}
