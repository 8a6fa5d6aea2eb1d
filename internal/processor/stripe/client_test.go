package stripe_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

// TestRequestsAreThese fixes every byte of what a key stands for: the processor refuses a
// key that comes again with other parameters, so a release must not change them.
func TestRequestsAreThese(t *testing.T) {
	t.Parallel()
	metadata := url.Values{
		"metadata[paymentsvc_installation]": {owner.Installation.String()},
		"metadata[paymentsvc_merchant]":     {"7"},
		"metadata[paymentsvc_attempt]":      {owner.AttemptID.String()},
	}
	with := func(more url.Values) url.Values {
		maps.Copy(more, metadata)
		return more
	}
	for name, row := range map[string]struct {
		send func(*stripe.Client, *testing.T) error
		path string
		form url.Values
	}{
		"create": {
			func(c *stripe.Client, t *testing.T) error {
				_, err := c.CreateIntent(t.Context(), "a key", stripe.NewIntent{
					Owner: owner, Amount: usd, PaymentMethod: "pm_card_visa",
				})
				return err
			}, "/v1/payment_intents", with(url.Values{
				"amount": {"4999"}, "currency": {"usd"}, "payment_method": {"pm_card_visa"},
				"payment_method_types[0]": {"card"}, "capture_method": {"automatic"},
			}),
		},
		"create manually": {
			func(c *stripe.Client, t *testing.T) error {
				_, err := c.CreateIntent(t.Context(), "a key", stripe.NewIntent{
					Owner: owner, Amount: usd, PaymentMethod: "pm_card_visa", Manual: true,
				})
				return err
			}, "/v1/payment_intents", with(url.Values{
				"amount": {"4999"}, "currency": {"usd"}, "payment_method": {"pm_card_visa"},
				"payment_method_types[0]": {"card"}, "capture_method": {"manual"},
			}),
		},
		"confirm": {
			func(c *stripe.Client, t *testing.T) error {
				_, err := c.Confirm(t.Context(), "a key", "pi_1")
				return err
			}, "/v1/payment_intents/pi_1/confirm", url.Values{},
		},
		"capture": {
			func(c *stripe.Client, t *testing.T) error {
				_, err := c.Capture(t.Context(), "a key", "pi_1", usd)
				return err
			}, "/v1/payment_intents/pi_1/capture", url.Values{"amount_to_capture": {"4999"}},
		},
		"cancel": {
			func(c *stripe.Client, t *testing.T) error {
				_, err := c.Cancel(t.Context(), "a key", "pi_1")
				return err
			}, "/v1/payment_intents/pi_1/cancel", url.Values{},
		},
		"refund": {
			func(c *stripe.Client, t *testing.T) error {
				_, err := c.Refund(t.Context(), "a key", "pi_1", usd, owner)
				return err
			}, "/v1/refunds", with(url.Values{"payment_intent": {"pi_1"}, "amount": {"4999"}}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProcessor(t, func(w http.ResponseWriter, r *http.Request) {
				text := intentText
				if r.URL.Path == "/v1/refunds" {
					text = refundText
				}
				if name == "create manually" {
					text = strings.Replace(text, `"automatic"`, `"manual"`, 1)
				}
				_, _ = io.WriteString(w, text)
			})
			if err := row.send(p.client(), t); err != nil {
				t.Fatal(err)
			}
			r := p.got()[0]
			if r.method != http.MethodPost || r.path != row.path ||
				r.form.Encode() != row.form.Encode() {
				t.Errorf("got %s %s %v\nwant %s %v", r.method, r.path, r.form, row.path, row.form)
			}
			for header, want := range map[string]string{
				"Idempotency-Key": "a key", "Authorization": "Bearer " + secretKey,
				"Stripe-Version": "2026-02-25.clover",
			} {
				if got := r.header.Get(header); got != want {
					t.Errorf("%s is %q, want %q", header, got, want)
				}
			}
		})
	}
}

func TestIntentIsReadWhole(t *testing.T) {
	text := change(t, intentText, `"automatic"`, `"manual"`, `"amount_capturable":0`,
		`"amount_capturable":1000`, `"last_payment_error":null`,
		`"last_payment_error":{"type":"card_error","code":"card_declined",
			"decline_code":"lost_card"}`, `"ch_1"`,
		`{"id":"ch_1","object":"charge","disputed":true}`)
	p := newProcessor(t, answering(200, text))
	got, err := p.client().Retrieve(t.Context(), "pi_1")
	if err != nil {
		t.Fatal(err)
	}
	if want := (stripe.Intent{
		Owner: owner, ID: "pi_1", Status: stripe.Succeeded, Amount: usd, AmountReceived: usd,
		AmountCapturable: ledger.Money{Minor: 1000, Currency: "USD"}, Manual: true,
		DeclineCode: "fraud_suspected", CreatedAt: time.Unix(1764547200, 0).UTC(),
		Disputed: true,
	}); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := p.got()[0].form.Get("expand[0]"); got != "latest_charge" {
		t.Errorf("the call expands %q", got)
	}
}

func TestIntentOfOthersIsRead(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		text string
		is   func(stripe.Intent) bool
	}{
		"charge that is only an id": {
			intentText, func(i stripe.Intent) bool { return !i.Disputed },
		},
		"no charge": {
			change(t, intentText, `"ch_1"`, `null`), func(i stripe.Intent) bool {
				return !i.Disputed
			},
		},
		"no metadata": {
			change(t, intentText, `"paymentsvc_`, `"x_`), func(i stripe.Intent) bool {
				return i.Owner == stripe.Owner{}
			},
		},
		"metadata that are no ids": {
			change(t, intentText, `"7"`, `"seven"`), func(i stripe.Intent) bool {
				return i.Owner == stripe.Owner{}
			},
		},
		"status of a later API": {
			change(t, intentText, `"succeeded"`, `"paused"`), func(i stripe.Intent) bool {
				return i.Status == "paused"
			},
		},
		"unknown currency": {
			change(t, intentText, `"usd"`, `"usdc"`), func(i stripe.Intent) bool {
				return i.Amount == ledger.Money{} && i.AmountReceived == ledger.Money{}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProcessor(t, answering(200, row.text))
			if got, err := p.client().Retrieve(t.Context(), "pi_1"); err != nil || !row.is(got) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestCallsAreLoggedWithoutKeyAndBody(t *testing.T) {
	p := newProcessor(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Request-Id", "req_42")
		_, _ = io.WriteString(w, intentText)
	})
	var log strings.Builder
	c := stripe.New(stripe.Config{
		SecretKey: secretKey, BaseURL: p.URL, Logger: loggerTo(&log),
	})
	if _, err := c.Confirm(t.Context(), "a-key", "pi_1"); err != nil {
		t.Fatal(err)
	}
	text := log.String()
	for _, want := range []string{"step=confirm", "intent_id=pi_1", "status_code=200", "req_42"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log has no %s: %s", want, text)
		}
	}
	for _, secret := range []string{secretKey, "a-key", "4999", "whsec"} {
		if strings.Contains(text, secret) {
			t.Errorf("the log has %s: %s", secret, text)
		}
	}
	if n := strings.Count(text, "\n"); n != 1 {
		t.Errorf("one call is %d lines", n)
	}
}

// TestSDKWritesNothing looks at the process's own output, where the SDK logs by default. It
// is not parallel, so no other test writes meanwhile.
func TestSDKWritesNothing(t *testing.T) {
	output, err := os.CreateTemp(t.TempDir(), "output")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = output.Close() }()
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = output, output
	defer func() { os.Stdout, os.Stderr = stdout, stderr }()
	for _, status := range []int{200, 402, 500} {
		p := httptest.NewServer(answering(status, secretKey))
		_, err := newClient(p.URL).Confirm(t.Context(), "key", "pi_1")
		wantUnknown(t, err, stripe.CodeUnreadable)
		p.Close()
	}
	if text, err := os.ReadFile(output.Name()); err != nil || len(text) > 0 {
		t.Errorf("the SDK wrote %q, %v", text, err)
	}
}
