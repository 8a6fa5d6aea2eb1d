package stripe_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

func errorText(members string) string { return `{"error":{` + members + `}}` }

func TestAnswersHaveOneOfThreeOutcomes(t *testing.T) {
	t.Parallel()
	declined := change(t, intentText, `"succeeded"`, `"requires_payment_method"`)
	for name, row := range map[string]struct {
		status  int
		body    string
		outcome stripe.Outcome
		code    string
		decline string
		intent  bool
	}{
		"object": {200, intentText, stripe.Done, "", "", false},
		"declined card": {
			402, errorText(`"type":"card_error","code":"card_declined",` +
				`"decline_code":"insufficient_funds","payment_intent":` + declined),
			stripe.NotDone, "card_declined", "insufficient_funds", true,
		},
		"declined card without an intent": {
			402, errorText(`"type":"card_error","code":"expired_card"`),
			stripe.NotDone, "expired_card", "expired_card", false,
		},
		"402 that is no card error": {
			402, errorText(`"type":"api_error","code":"x"`), stripe.Unknown, "x", "", false,
		},
		"wrong state": {
			400, errorText(`"type":"invalid_request_error",` +
				`"code":"payment_intent_unexpected_state","payment_intent":` + intentText),
			stripe.NotDone, "payment_intent_unexpected_state", "", true,
		},
		"intent of another call": {
			400, errorText(`"type":"invalid_request_error","code":"x","payment_intent":` +
				change(t, intentText, "pi_1", "pi_2")), stripe.NotDone, "x", "", false,
		},
		"missing intent": {
			404, errorText(`"type":"invalid_request_error","code":"resource_missing"`),
			stripe.NotDone, "resource_missing", "", false,
		},
		"path that the processor does not have": {
			404, errorText(`"type":"invalid_request_error",` +
				`"message":"Unrecognized request URL (POST: /x/v1/payment_intents)."`),
			stripe.Unknown, stripe.CodeUnknownPath, "", false,
		},
		"key with other parameters": {
			400, errorText(`"type":"idempotency_error"`),
			stripe.Unknown, stripe.CodeIdempotency, "", false,
		},
		"400 of the API": {400, errorText(`"type":"api_error"`), stripe.Unknown, "", "", false},
		"400 of another server": {
			400, `<html>`, stripe.Unknown, stripe.CodeUnreadable, "", false,
		},
		"404 of another server": {
			404, `not found`, stripe.Unknown, stripe.CodeUnreadable, "", false,
		},
		"404 without an error":  {404, `{}`, stripe.Unknown, stripe.CodeUnreadable, "", false},
		"402 of another server": {402, `{}`, stripe.Unknown, stripe.CodeUnreadable, "", false},
		"wrong secret key": {
			401, errorText(`"type":"invalid_request_error"`),
			stripe.Unknown, stripe.CodeUnauthorized, "", false,
		},
		"key without the right": {
			403, errorText(`"type":"card_error"`),
			stripe.Unknown, stripe.CodeUnauthorized, "", false,
		},
		"key in use": {
			409, errorText(`"type":"invalid_request_error","code":"idempotency_key_in_use"`),
			stripe.Unknown, "idempotency_key_in_use", "", false,
		},
		"key in use as an idempotency error": {
			409, errorText(`"type":"idempotency_error","code":"idempotency_key_in_use"`),
			stripe.Unknown, "idempotency_key_in_use", "", false,
		},
		"too many requests": {
			429, errorText(`"type":"invalid_request_error","code":"rate_limit"`),
			stripe.Unknown, "rate_limit", "", false,
		},
		"internal error": {500, errorText(`"type":"api_error"`), stripe.Unknown, "", "", false},
		"internal error with a card's words": {
			500, errorText(`"type":"card_error","code":"card_declined"`),
			stripe.Unknown, "card_declined", "", false,
		},
		"bad gateway": {502, `<html>`, stripe.Unknown, stripe.CodeUnreadable, "", false},
		"redirect with an intent": {
			302, intentText, stripe.Unknown, stripe.CodeUnreadable, "", false,
		},
		"not modified": {304, ``, stripe.Unknown, stripe.CodeUnreadable, "", false},
		"garbage":      {200, `OK`, stripe.Unknown, stripe.CodeUnreadable, "", false},
		"empty body":   {200, ``, stripe.Unknown, stripe.CodeUnreadable, "", false},
		"empty object": {200, `{}`, stripe.Unknown, stripe.CodeUnreadable, "", false},
		"null":         {200, `null`, stripe.Unknown, stripe.CodeUnreadable, "", false},
		"only an id":   {200, `"pi_1"`, stripe.Unknown, stripe.CodeUnreadable, "", false},
		"another object": {
			200, change(t, intentText, `"payment_intent"`, `"charge"`),
			stripe.Unknown, stripe.CodeUnreadable, "", false,
		},
		"error in a 200": {
			200, errorText(`"type":"card_error"`),
			stripe.Unknown, stripe.CodeUnreadable, "", false,
		},
		"another intent": {
			200, change(t, intentText, "pi_1", "pi_2"),
			stripe.Unknown, stripe.CodeContradiction, "", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProcessor(t, answering(row.status, row.body))
			_, err := p.client().Confirm(t.Context(), "key", "pi_1")
			if got := stripe.OutcomeOf(err); got != row.outcome {
				t.Errorf("the outcome is %q, want %q: %v", got, row.outcome, err)
			}
			if n := len(p.got()); n != 1 {
				t.Errorf("the processor got %d requests, want 1", n)
			}
			if err == nil {
				return
			}
			e, _ := errors.AsType[*stripe.Error](err)
			if e.Code != row.code || e.DeclineCode != row.decline || e.StatusCode != row.status {
				t.Errorf("got status %d, code %q, decline code %q", e.StatusCode, e.Code,
					e.DeclineCode)
			}
			if (e.Intent != nil) != row.intent {
				t.Errorf("the intent is %+v, want one: %t", e.Intent, row.intent)
			}
		})
	}
}

func TestObjectThatDiffersFromTheRequestIsUnknown(t *testing.T) {
	t.Parallel()
	create := func(c *stripe.Client, t *testing.T) error {
		_, err := c.CreateIntent(t.Context(), "key", stripe.NewIntent{
			Owner: owner, Amount: usd, PaymentMethod: "pm_card_visa",
		})
		return err
	}
	capture := func(c *stripe.Client, t *testing.T) error {
		_, err := c.Capture(t.Context(), "key", "pi_1", usd)
		return err
	}
	refund := func(c *stripe.Client, t *testing.T) error {
		_, err := c.Refund(t.Context(), "key", "pi_1", usd, owner)
		return err
	}
	retrieve := func(c *stripe.Client, t *testing.T) error {
		_, err := c.Retrieve(t.Context(), "pi_1")
		return err
	}
	for name, row := range map[string]struct {
		call           func(*stripe.Client, *testing.T) error
		text, from, to string
	}{
		"created amount":      {create, intentText, `"amount":4999`, `"amount":4998`},
		"created currency":    {create, intentText, `"usd"`, `"eur"`},
		"created manually":    {create, intentText, `"automatic"`, `"manual"`},
		"created for another": {create, intentText, `"paymentsvc_merchant":"7"`, `"x":"7"`},
		"captured amount":     {capture, intentText, `_received":4999`, `_received":4998`},
		"captured currency":   {capture, intentText, `"usd"`, `"eur"`},
		"captured intent":     {capture, intentText, `"pi_1"`, `"pi_2"`},
		"retrieved intent":    {retrieve, intentText, `"pi_1"`, `"pi_2"`},
		"refunded intent":     {refund, refundText, `"pi_1"`, `"pi_2"`},
		"refunded amount":     {refund, refundText, `4999`, `4998`},
		"refunded currency":   {refund, refundText, `"usd"`, `"eur"`},
		"refunded attempt":    {refund, refundText, `000002"`, `000003"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check := func(t *testing.T, text, code string) {
				p := newProcessor(t, answering(200, text))
				err := row.call(p.client(), t)
				e, _ := errors.AsType[*stripe.Error](err)
				if code == "" && err != nil {
					t.Error(err)
				}
				if code != "" && (e == nil || e.Outcome != stripe.Unknown || e.Code != code) {
					t.Errorf("got %v, want a contradiction of unknown outcome", err)
				}
			}
			t.Run("as asked", func(t *testing.T) { check(t, row.text, "") })
			t.Run("otherwise", func(t *testing.T) {
				check(t, change(t, row.text, row.from, row.to), stripe.CodeContradiction)
			})
		})
	}
}

func TestReplayedAnswerIsTold(t *testing.T) {
	p := newProcessor(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Idempotent-Replayed", "true")
		w.WriteHeader(http.StatusInternalServerError) // with a body that cannot be read
	})
	_, err := p.client().Confirm(t.Context(), "key", "pi_1")
	if e, _ := errors.AsType[*stripe.Error](err); e == nil || !e.Replayed || e.StatusCode != 500 {
		t.Errorf("got %#v, want a replayed 500", err)
	}
}

func TestCallWithoutKeyOrIntentIsNotSent(t *testing.T) {
	p := newProcessor(t, answering(200, intentText))
	c := p.client()
	_, noKey := c.Confirm(t.Context(), "", "pi_1")
	_, noIntent := c.Confirm(t.Context(), "key", "")
	_, nothing := c.Retrieve(t.Context(), "")
	_, noAmount := c.Capture(t.Context(), "key", "pi_1", ledger.Money{Currency: "USD"})
	for _, err := range []error{noKey, noIntent, nothing, noAmount} {
		if stripe.OutcomeOf(err) != stripe.Unknown {
			t.Errorf("got %v, want an unknown outcome", err)
		}
	}
	if got := p.got(); len(got) != 0 {
		t.Errorf("the processor got %v", got)
	}
}

func TestForeignErrorIsUnknown(t *testing.T) {
	t.Parallel()
	if got := stripe.OutcomeOf(errors.New("x")); got != stripe.Unknown {
		t.Error(got)
	}
	var zero stripe.Outcome
	if zero != stripe.Unknown {
		t.Error("an outcome that nobody set is not unknown")
	}
}

// TestSecretIsInNoError lets the processor and a proxy echo what they got.
func TestSecretIsInNoError(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 302, 400, 401, 402, 403, 404, 409, 429, 500} {
		for _, body := range []string{
			"Authorization: Bearer " + secretKey,
			errorText(`"type":"invalid_request_error","message":"No such key: ` + secretKey + `"`),
			errorText(`"type":"card_error","message":"` + strings.Repeat(secretKey, 99) + `"`),
			errorText(`"type":"card_error","message":"` + strings.Repeat("x", 285) +
				secretKey + `"`),
		} {
			t.Run(http.StatusText(status), func(t *testing.T) {
				p := newProcessor(t, answering(status, body))
				var log strings.Builder
				c := stripe.New(stripe.Config{
					SecretKey: secretKey, BaseURL: p.URL, Logger: loggerTo(&log),
				})
				_, err := c.Confirm(t.Context(), "key", "pi_1")
				if err == nil {
					t.Fatal("the call succeeded")
				}
				for _, text := range []string{err.Error(), log.String()} {
					if strings.Contains(text, secretKey[:20]) || len(text) > 1000 {
						t.Error(text)
					}
				}
			})
		}
	}
}
