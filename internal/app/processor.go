package app

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/cards"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

// ProcessorSettings name the account at the card processor. Like Settings they stay texts
// until they are parsed. Commands that ask the processor have them, too.
type ProcessorSettings struct {
	StripeSecretKey string `help:"${stripe}" env:"STRIPE_SECRET_KEY" placeholder:"KEY"`
	StripeURL       string `help:"${stripeurl}" env:"STRIPE_URL" placeholder:"URL"`

	StripeWebhookSecrets string `help:"${hooks}" env:"STRIPE_WEBHOOK_SECRETS" placeholder:"LIST"`

	ProcessorTimeout      string `help:"${calltime}" env:"PROCESSOR_TIMEOUT" default:"10s"`
	ProcessorResendWindow string `help:"${resend}" env:"PROCESSOR_RESEND_WINDOW" default:"12h"`
	ProcessorKeyWindow    string `help:"${keywindow}" env:"PROCESSOR_KEY_WINDOW" default:"24h"`
}

// Parse reads the settings. Its error names every problem.
func (f ProcessorSettings) Parse() (cards.Settings, error) {
	var p problems
	settings := p.processor(&f)
	return settings, errors.Join(p...)
}

// processor reads the settings of the card processor. Without a secret key there is none.
// No message shows a secret.
func (p *problems) processor(f *ProcessorSettings) cards.Settings {
	settings := cards.Settings{
		SecretKey: f.StripeSecretKey,
		URL:       f.StripeURL,
		Timeout:   p.duration("PROCESSOR_TIMEOUT", f.ProcessorTimeout, time.Second),
		ResendWindow: p.duration("PROCESSOR_RESEND_WINDOW", f.ProcessorResendWindow,
			time.Second),
	}
	if strings.ContainsFunc(f.StripeSecretKey, notPrinted) { // such as the end of a file's line
		*p = append(*p, errors.New("STRIPE_SECRET_KEY: it has a space or a line break"))
	}
	if f.StripeWebhookSecrets != "" {
		for secret := range strings.SplitSeq(f.StripeWebhookSecrets, ",") {
			settings.WebhookSecrets = append(settings.WebhookSecrets, strings.TrimSpace(secret))
		}
	}
	if slices.Contains(settings.WebhookSecrets, "") {
		*p = append(*p, errors.New("STRIPE_WEBHOOK_SECRETS: one of the secrets is empty"))
	}
	if settings.SecretKey == "" && (f.StripeURL != "" || f.StripeWebhookSecrets != "") {
		*p = append(*p, errors.New("STRIPE_URL and STRIPE_WEBHOOK_SECRETS mean nothing without "+
			"STRIPE_SECRET_KEY"))
	}
	if f.StripeURL != "" {
		parsed, err := url.Parse(f.StripeURL)
		if err != nil || parsed.Host == "" ||
			parsed.Scheme != "http" && parsed.Scheme != "https" ||
			parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "" {
			*p = append(*p, errors.New("STRIPE_URL: it is not an address such as "+
				"http://127.0.0.1:12111"))
		}
	}
	remembered := p.duration("PROCESSOR_KEY_WINDOW", f.ProcessorKeyWindow, time.Second)
	if settings.ResendWindow+2*cards.LeaseTime(settings.Timeout) > remembered {
		p.add("PROCESSOR_RESEND_WINDOW", f.ProcessorResendWindow, "does not fit into "+
			"PROCESSOR_KEY_WINDOW: the processor could forget a key and refund twice")
	}
	return settings
}

// notPrinted tells whether a secret cannot have the character.
func notPrinted(r rune) bool { return r <= ' ' || r > '~' }

// openCards makes the part that charges cards, if there is a processor.
func (in *Instance) openCards(ctx context.Context) (err error) {
	settings := in.config.Processor
	if settings.SecretKey == "" {
		in.logger.Info("cards cannot be charged, because STRIPE_SECRET_KEY is not set")
		return in.warnOfWaiting(ctx)
	}
	in.Cards, err = cards.New(ctx, cards.Config{
		Pool:     in.Pools.General,
		Payments: in.Payments,
		Processor: stripe.New(stripe.Config{
			SecretKey: settings.SecretKey, BaseURL: settings.URL, Timeout: settings.Timeout,
			WebhookSecrets: settings.WebhookSecrets, Logger: in.logger,
			Called: in.metrics.ProcessorCalled,
		}),
		Settings: settings,
		Sharded:  in.sharded,
		Logger:   in.logger,
	})
	return err
}

// warnOfWaiting tells of card payments that nobody works on without a processor. No metric
// does: an instance counts attempts only if it works on them.
func (in *Instance) warnOfWaiting(ctx context.Context) error {
	waiting, err := cards.Unsettled(ctx, in.Pools.General, cards.Filter{Limit: 1})
	if err == nil && len(waiting) > 0 {
		in.logger.Warn("card payments wait for their processor: see paymentsvc attempts list")
	}
	return err
}

// addCards lets the engine begin card payments.
func (in *Instance) addCards(config *payments.Config) {
	if in.config.Processor.SecretKey == "" {
		return
	}
	config.AttemptLease = cards.BeginLease
	config.CheckCard = stripe.CheckAmount
}
