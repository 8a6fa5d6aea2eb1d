// Package stripe speaks to Stripe, or to a server with its wire format, through the
// official SDK. It knows no payments: it makes calls, and says what is known about their
// effect.
//
// One method call is one HTTP request. (Lists are one for each page.) Neither the SDK
// nor net/http sends it again, so that the caller decides about every repetition. A call
// has one of three outcomes. Done and NotDone are what the processor itself has
// answered. Everything else is Unknown: a time-out, a reset connection, a 5xx, an answer
// that cannot be read or that contradicts the request.
//
// The SDK pins the API version (stripe.APIVersion of its release) and sends it with every
// request. An upgrade of the SDK changes the version, so it needs a review.
package stripe

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/stripe/stripe-go/v84"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
)

// DefaultTimeout is the time limit of a call if Config has none.
const DefaultTimeout = 30 * time.Second

// Config is the account at the processor.
type Config struct {
	SecretKey      string        // sk_…
	BaseURL        string        // "" is Stripe's own
	Timeout        time.Duration // of one request with its answer; 0: DefaultTimeout
	WebhookSecrets []string      // whsec_…; two while one is being replaced
	Logger         *slog.Logger  // nil: no logs
	Called         Called        // nil, or told of each call
}

// Called is told of a call after it: its step, its outcome and how long it took.
type Called func(step string, outcome Outcome, took time.Duration)

// Client makes calls. It is safe for concurrent use.
type Client struct {
	api     *stripe.Client
	backend stripe.Backend
	key     string
	secrets []string
	logger  *slog.Logger
	called  Called

	unanswered atomic.Int64 // calls since the processor's last answer
}

// silentAfter is how many calls in a row have no answer before the processor counts as
// silent. The calls that one merchant's cards make hang are not in a row, as long as other
// calls are answered.
const silentAfter = 32

// Silent tells whether the processor seems to be away: it answers no call, or each one with
// a 5xx.
func (c *Client) Silent() bool { return c.unanswered.Load() >= silentAfter }

// New makes a client of its own: it uses no state of the SDK's package.
func New(config Config) *Client {
	logger := config.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	called := config.Called
	if called == nil {
		called = func(string, Outcome, time.Duration) {}
	}
	backends := stripe.NewBackendsWithConfig(&stripe.BackendConfig{
		URL:               stripe.String(cmp.Or(config.BaseURL, stripe.APIURL)),
		HTTPClient:        newHTTPClient(cmp.Or(config.Timeout, DefaultTimeout)),
		MaxNetworkRetries: stripe.Int64(0),
		EnableTelemetry:   new(false),
		// The SDK's messages hold pieces of bodies. The client logs each call itself.
		LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull},
	})
	return &Client{
		api:     stripe.NewClient(config.SecretKey, stripe.WithBackends(backends)),
		backend: backends.API,
		key:     config.SecretKey,
		secrets: config.WebhookSecrets,
		logger:  logger,
		called:  called,
	}
}

// NewIntent is what CreateIntent asks for.
type NewIntent struct {
	Owner
	Amount        ledger.Money
	PaymentMethod string // pm_…
	Manual        bool   // authorize at Confirm, and take the money at Capture
}

// CreateIntent makes an intent that is not confirmed. It moves no money.
//
// The payment method type is always card. Then Confirm needs no return_url, because a card
// never redirects, and the account's settings cannot offer a bank debit, which stays
// processing for days. The capture method is explicit, because its default depends on the
// API version.
func (c *Client) CreateIntent(ctx context.Context, key string, n NewIntent) (Intent, error) {
	call := callInfo{step: "create", key: key}
	amount, err := toWire(n.Amount)
	if err != nil {
		return Intent{}, call.unsent("invalid_amount", err.Error())
	}
	params := &stripe.PaymentIntentCreateParams{
		Amount:             &amount,
		Currency:           stripe.String(wireCurrency(n.Amount.Currency)),
		PaymentMethod:      &n.PaymentMethod,
		PaymentMethodTypes: []*string{stripe.String("card")},
		CaptureMethod:      stripe.String(stripe.PaymentIntentCaptureMethodAutomatic),
		Metadata:           n.metadata(),
	}
	if n.Manual {
		params.CaptureMethod = stripe.String(stripe.PaymentIntentCaptureMethodManual)
	}
	params.SetIdempotencyKey(key)
	return c.intent(ctx, call, func(ctx context.Context) (*stripe.PaymentIntent, error) {
		return c.api.V1PaymentIntents.Create(ctx, params)
	}, func(i *Intent) bool {
		return i.Amount == n.Amount && i.Manual == n.Manual && i.Owner == n.Owner
	})
}

// Confirm charges the intent's payment method, or authorizes it if the intent is Manual.
func (c *Client) Confirm(ctx context.Context, key, intentID string) (Intent, error) {
	params := &stripe.PaymentIntentConfirmParams{}
	params.SetIdempotencyKey(key)
	return c.intent(ctx, callInfo{step: "confirm", key: key, intentID: intentID},
		func(ctx context.Context) (*stripe.PaymentIntent, error) {
			return c.api.V1PaymentIntents.Confirm(ctx, intentID, params)
		}, nil)
}

// Retrieve reads an intent with its latest charge. NotDone means that the account has no
// such intent.
func (c *Client) Retrieve(ctx context.Context, intentID string) (Intent, error) {
	params := &stripe.PaymentIntentRetrieveParams{}
	params.AddExpand("latest_charge")
	return c.intent(ctx, callInfo{step: "retrieve", reads: true, intentID: intentID},
		func(ctx context.Context) (*stripe.PaymentIntent, error) {
			return c.api.V1PaymentIntents.Retrieve(ctx, intentID, params)
		}, nil)
}

// Capture takes the amount from an authorized intent. The processor releases the rest.
func (c *Client) Capture(
	ctx context.Context, key, intentID string, amount ledger.Money,
) (Intent, error) {
	call := callInfo{step: "capture", key: key, intentID: intentID}
	wire, err := toWire(amount)
	if err != nil {
		return Intent{}, call.unsent("invalid_amount", err.Error())
	}
	params := &stripe.PaymentIntentCaptureParams{AmountToCapture: &wire}
	params.SetIdempotencyKey(key)
	return c.intent(ctx, call, func(ctx context.Context) (*stripe.PaymentIntent, error) {
		return c.api.V1PaymentIntents.Capture(ctx, intentID, params)
	}, func(i *Intent) bool {
		return i.Amount.Currency == amount.Currency &&
			(i.Status != Succeeded || i.AmountReceived == amount)
	})
}

// Cancel ends an intent that has taken no money, and releases an authorized amount.
func (c *Client) Cancel(ctx context.Context, key, intentID string) (Intent, error) {
	params := &stripe.PaymentIntentCancelParams{}
	params.SetIdempotencyKey(key)
	return c.intent(ctx, callInfo{step: "cancel", key: key, intentID: intentID},
		func(ctx context.Context) (*stripe.PaymentIntent, error) {
			return c.api.V1PaymentIntents.Cancel(ctx, intentID, params)
		}, nil)
}

// Refund returns an amount of an intent. The refund's metadata name its own attempt.
func (c *Client) Refund(
	ctx context.Context, key, intentID string, amount ledger.Money, owner Owner,
) (Refund, error) {
	call := callInfo{step: "refund", key: key, intentID: intentID}
	wire, err := toWire(amount)
	if err != nil {
		return Refund{}, call.unsent("invalid_amount", err.Error())
	}
	params := &stripe.RefundCreateParams{
		PaymentIntent: &intentID, Amount: &wire, Metadata: owner.metadata(),
	}
	params.SetIdempotencyKey(key)
	sent, err := once(ctx, c, call, func(ctx context.Context) (*stripe.Refund, error) {
		return c.api.V1Refunds.Create(ctx, params)
	})
	if err != nil {
		return Refund{}, err
	}
	refund := newRefund(sent)
	switch {
	case !readableRefund(sent):
		return Refund{}, call.unreadable()
	case refund.IntentID != intentID || refund.Amount != amount || refund.Owner != owner:
		return Refund{}, call.contradiction()
	}
	return refund, nil
}

// intent makes a call whose result is an intent. An intent with another id contradicts
// the request, and so does one for which agrees is false.
func (c *Client) intent(
	ctx context.Context, call callInfo,
	send func(context.Context) (*stripe.PaymentIntent, error), agrees func(*Intent) bool,
) (Intent, error) {
	if call.intentID == "" && call.step != "create" {
		return Intent{}, call.unsent("no_intent", "the id of the intent is missing")
	}
	sent, err := once(ctx, c, call, send)
	if err != nil {
		return Intent{}, err
	}
	intent := newIntent(sent)
	switch {
	case !readable(sent):
		return Intent{}, call.unreadable()
	case call.intentID != "" && intent.ID != call.intentID,
		agrees != nil && !agrees(&intent):
		return Intent{}, call.contradiction()
	}
	return intent, nil
}

// callInfo is what is known about a call before it is made.
type callInfo struct {
	step     string
	reads    bool   // it changes nothing, so it needs no key
	key      string // of the processor
	intentID string
}

// once makes one call, and logs it without the key, the secret and the bodies.
func once[T any](
	ctx context.Context, c *Client, call callInfo, send func(context.Context) (T, error),
) (T, error) {
	var none T
	if call.key == "" && !call.reads {
		// The SDK would make a random key.
		return none, call.unsent("no_key", "the processor's key is missing")
	}
	seen := &exchange{}
	began := time.Now()
	result, err := send(context.WithValue(ctx, exchangeKey{}, seen))
	took := time.Since(began)
	attributes := []slog.Attr{
		slog.String("step", call.step),
		slog.String("intent_id", call.intentID),
		slog.Int("status_code", seen.statusCode),
		slog.String("processor_request_id", printable(seen.header.Get("Request-Id"))),
		slog.Float64("duration_seconds", took.Seconds()),
	}
	if err == nil {
		c.unanswered.Store(0)
		c.called(call.step, Done, took)
		c.logger.LogAttrs(ctx, slog.LevelDebug, "processor called", attributes...)
		return result, nil
	}
	failure := c.classify(call, seen, err)
	if seen.statusCode == 0 || seen.statusCode >= http.StatusInternalServerError {
		c.unanswered.Add(1)
	} else {
		c.unanswered.Store(0)
	}
	c.called(call.step, failure.Outcome, took)
	level := slog.LevelWarn
	if failure.Outcome == NotDone {
		level = slog.LevelInfo
	}
	c.logger.LogAttrs(ctx, level, "processor call failed", append(attributes,
		slog.String("outcome", failure.Outcome.String()),
		slog.String("code", failure.Code), slog.Any("error", failure))...)
	return none, failure
}

// unsent is the error of a call that was not made. An earlier call under the same key may
// have been made, so the outcome is Unknown.
func (c callInfo) unsent(code, detail string) *Error {
	return &Error{Step: c.step, Code: code, Detail: detail}
}

func (c callInfo) unreadable() *Error {
	return &Error{
		Step: c.step, StatusCode: http.StatusOK, Code: CodeUnreadable, Err: errUnreadable,
	}
}

func (c callInfo) contradiction() *Error {
	return &Error{
		Step: c.step, StatusCode: http.StatusOK, Code: CodeContradiction,
		Err: errors.New("the answer contradicts the request"),
	}
}
