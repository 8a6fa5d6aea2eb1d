package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/paymentsvc/paymentsvc/client"
)

// An answer decides whether another attempt follows, and whether the outcome is unknown: alone,
// and after an attempt whose answer was lost.
func TestEachAnswerHasOneMeaning(t *testing.T) {
	t.Parallel()
	const (
		same  = client.RetrySameKey
		newK  = client.RetryNewKey
		never = client.RetryNever
	)
	for _, row := range []struct {
		answer    answer
		again     bool // another attempt follows
		unknown   bool // as the last of its kind
		afterLost bool // unknown, where the attempt before was lost
	}{
		// The last word about the key, and so about every attempt.
		{problem(402, "insufficient_funds", newK), false, false, false},
		{problem(422, "idempotency_key_reused", never), false, false, false},
		{problem(409, "idempotency_key_expired", never), false, false, false},
		{problem(503, "given_up", never), false, false, false},
		// Refused and not stored: nothing about the attempt before, which may be on its
		// way still.
		{problem(400, "invalid_request", same), false, false, true},
		// of a payment that may yet be canceled
		{problem(409, "duplicate_reference", never), false, false, true},
		{problem(401, "unauthorized", same), false, false, true},
		{problem(404, "not_found", same), false, false, true},
		{problem(409, "invalid_state", same), false, false, true},
		{problem(422, "account_closed", same), false, false, true},
		// Turned away before anything was done.
		{problem(429, "rate_limited", same), true, false, true},
		{problem(503, "overloaded", same), true, false, true},
		{problem(503, "unavailable", same), true, false, true},
		// The service does not know either.
		{problem(503, "outcome_unknown", same), true, true, true},
		{problem(503, "some_later_code", same), true, true, true},
		{problem(409, "idempotency_key_in_progress", same), true, true, true},
		{problem(500, "internal_error", same), true, true, true},
		// Not the service's words: whoever answered may have passed the request on
		// first.
		{page(403), false, true, true},
		{page(409), false, true, true},
		{page(429), true, true, true},
		{page(500), false, true, true},
		{page(502), true, true, true},
		{page(503), true, true, true},
		{page(504), true, true, true},
		{page(307), false, true, true},
		{page(200), false, true, true},
		{answer{status: 201, kind: "application/json", body: `{"id":`}, false, true, true},
		{
			answer{status: 201, kind: "application/json", body: `{"portal":"log in"}`},
			false,
			true, true,
		},
		{withStatus(503, problem(200, "overloaded", same)), true, true, true},
		{lost, true, true, true},
	} {
		t.Run(fmt.Sprint(row.answer), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				options := client.Options{AttemptsMax: 2}
				c, service := scripted(t, options, row.answer)
				_, err := c.Charge(t.Context(), "key", charge)
				if n := len(service.requests()); (n == 2) != row.again || n < 1 {
					t.Errorf("it was sent %d times", n)
				}
				if isUnknown(t, err, "key") != row.unknown {
					t.Errorf("alone: unknown should be %t: %v", row.unknown, err)
				}

				c, _ = scripted(t, options, lost, row.answer)
				_, err = c.Charge(t.Context(), "key", charge)
				if err == nil || isUnknown(t, err, "key") != row.afterLost {
					t.Errorf("after a lost one: unknown should be %t: %v", row.afterLost, err)
				}

				if row.again {
					c, service = scripted(t, options, row.answer, yes)
					payment, err := c.Charge(t.Context(), "key", charge)
					if err != nil || payment.ID != "pay_1" || payment.Attempts != 2 ||
						len(service.requests()) != 2 {
						t.Errorf("the second attempt should have succeeded: %v, %v", payment, err)
					}
				}
			})
		})
	}
}

// A fresh key on each retry would charge twice.
func TestEveryAttemptHasTheSameKeyAndTheSameBytes(t *testing.T) {
	t.Parallel()
	key := client.NewKey()
	const order = `"amount":4999,"currency":"USD",` +
		`"source_account":"alice","destination_account":"shop"`
	for _, row := range []struct {
		name, path, body string
		send             func(*testing.T, *client.Client) client.Reply
	}{
		{
			"charge", "/payments", `{` + order + `}`,
			func(t *testing.T, c *client.Client) client.Reply {
				return must[*client.PaymentReply](t)(c.Charge(t.Context(), key, charge)).Reply
			},
		},
		{
			"charge by card", "/payments",
			`{"amount":1,"currency":"USD","payment_method":"pm_1","destination_account":"shop"}`,
			func(t *testing.T, c *client.Client) client.Reply {
				return must[*client.PaymentReply](t)(c.Charge(t.Context(), key, client.Charge{
					Amount: 1, Currency: "USD", PaymentMethod: "pm_1", DestinationAccount: "shop",
				})).Reply
			},
		},
		{
			"authorize", "/payments", `{` + order + `,"capture":false}`,
			func(t *testing.T, c *client.Client) client.Reply {
				return must[*client.PaymentReply](t)(c.Authorize(t.Context(), key, charge)).Reply
			},
		},
		{
			"capture", "/payments/pay_1/capture", `{"amount":60}`,
			func(t *testing.T, c *client.Client) client.Reply {
				request := client.CaptureRequest{Amount: new(int64(60))}
				return must[*client.PaymentReply](t)(c.Capture(t.Context(), key, "pay_1",
					request)).Reply
			},
		},
		{
			"cancel", "/payments/pay_1/cancel", `{}`,
			func(t *testing.T, c *client.Client) client.Reply {
				return must[*client.PaymentReply](t)(c.Cancel(t.Context(), key, "pay_1")).Reply
			},
		},
		{
			"refund", "/payments/pay_1/refunds", `{"amount":60,"reason":"one was broken"}`,
			func(t *testing.T, c *client.Client) client.Reply {
				request := client.RefundRequest{Amount: new(int64(60)), Reason: "one was broken"}
				return must[*client.RefundReply](t)(c.Refund(t.Context(), key, "pay_1",
					request)).Reply
			},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, service := scripted(t, client.Options{UserAgent: "shop/1.4"},
					lost, page(502),
					problem(503, "outcome_unknown", client.RetrySameKey),
					problem(409, "idempotency_key_in_progress", client.RetrySameKey),
					yes.with("Idempotent-Replayed", "true").with("Original-Request-Id",
						"req_0").with("Request-Id", "req_4"))
				reply := row.send(t, c)
				if !reply.Replayed || reply.OriginalRequestID != "req_0" ||
					reply.RequestID != "req_4" || reply.Attempts != 5 {
					t.Errorf("the reply is %+v", reply)
				}
				if string(reply.Body) != yes.body {
					t.Errorf("the body is %s", reply.Body)
				}
				requests := service.requests()
				if len(requests) != 5 {
					t.Fatalf("%d requests", len(requests))
				}
				for _, r := range requests {
					if r.method != http.MethodPost || r.path != row.path ||
						r.header.Get("Idempotency-Key") != `"`+string(key)+`"` ||
						r.header.Get("User-Agent") != "shop/1.4 paymentsvc-client-go" ||
						r.header.Get("Authorization") != "Bearer sk_test" || r.body != row.body {
						t.Errorf("a request differs: %+v", r)
					}
				}
			})
		})
	}
}

func TestAKeyThatCannotBeSentIsNotSent(t *testing.T) {
	t.Parallel()
	c, service := scripted(t, client.Options{}, yes)
	for _, key := range []client.Key{
		"", "with\nnewline", "schlüssel",
		client.Key(make([]byte, 256)),
	} {
		if _, err := c.Charge(t.Context(), key, charge); !errors.Is(err, client.ErrInvalidKey) ||
			isUnknown(t, err, key) {
			t.Errorf("key %q: %v", key, err)
		}
	}
	if n := len(service.requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// An id never makes a path another resource's.
func TestAnIDStaysInItsPlace(t *testing.T) {
	t.Parallel()
	c, service := scripted(t, client.Options{},
		answer{status: 200, kind: "application/json", body: `{"id":"x"}`})
	for _, id := range []string{"", ".", ".."} {
		if _, err := c.GetPayment(t.Context(), id); err == nil {
			t.Errorf("id %q was sent", id)
		}
	}
	if _, err := c.GetPayment(t.Context(), "a/../b?c#d"); err != nil {
		t.Fatal(err)
	}
	if requests := service.requests(); len(requests) != 1 ||
		requests[0].path != "/payments/a%2F..%2Fb%3Fc%23d" {
		t.Errorf("requests: %+v", requests)
	}
}

// Reading has no outcome that could be unknown; writing without a key has, and is
// repeated as well.
func TestMethodsThatAreIdempotentAreSentAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, row := range map[string]struct {
			call    func(*client.Client) error
			unknown bool
		}{
			"GET": {func(c *client.Client) error {
				_, err := c.GetPayment(t.Context(), "pay_1")
				return err
			}, false},
			"PUT": {func(c *client.Client) error {
				_, err := c.PutAccount(t.Context(), "a", client.AccountTerms{})
				return err
			}, true},
			"DELETE": {func(c *client.Client) error {
				return c.CloseAccount(t.Context(), "a")
			}, true},
			"PATCH": {func(c *client.Client) error {
				_, err := c.EditPayment(t.Context(), "pay_1", 3,
					client.PaymentPatch{Description: new("x")})
				return err
			}, true},
		} {
			c, service := scripted(t, client.Options{AttemptsMax: 3}, lost)
			err := row.call(c)
			if err == nil || isUnknown(t, err, "") != row.unknown {
				t.Errorf("%s: unknown should be %t: %v", name, row.unknown, err)
			}
			if n := len(service.requests()); n != 3 {
				t.Errorf("%s: sent %d times", name, n)
			}
		}
	})
}

// The reason why the outcome is unknown stays in sight, whatever later attempts meet.
func TestUnknownOutcomeNamesItsCause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, row := range []struct {
			answers []answer
			says    string
		}{
			{
				[]answer{overloaded, lost, limited},
				"unexpected EOF; in the end: rate_limited (429)",
			},
			{[]answer{overloaded, overloaded, lost}, "finds out): Post"},
		} {
			c, _ := scripted(t, client.Options{AttemptsMax: 3}, row.answers...)
			_, err := c.Charge(t.Context(), "key", charge)
			if !isUnknown(t, err, "key") || !errors.Is(err, io.ErrUnexpectedEOF) ||
				!strings.Contains(err.Error(), row.says) ||
				strings.Count(err.Error(), "EOF") != 1 {
				t.Errorf("got %v", err)
			}
		}
	})
}

// Nothing was done, and the error says so: it is not an unknown outcome.
func TestNothingSentIsNoUnknownOutcome(t *testing.T) {
	t.Parallel()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	c, service := scripted(t, client.Options{}, yes)
	_, err := c.Charge(over, "key", charge)
	if !errors.Is(err, context.Canceled) || isUnknown(t, err, "key") ||
		len(service.requests()) != 0 {
		t.Errorf("a context that is over: %d requests, %v", len(service.requests()), err)
	}
	c = newClient(t, client.Options{
		URL: "https://payments.example", APIKey: "sk_test", UserAgent: "no\nheader",
		AttemptsMax: 2,
	})
	if _, err := c.Charge(t.Context(), "key", charge); err == nil || isUnknown(t, err, "key") {
		t.Errorf("a request that net/http refuses: %v", err)
	}
}

// The first attempt may have been the change that the second runs into.
func TestA412AfterALostAnswerIsBoth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := scripted(t, client.Options{}, lost,
			problem(412, "precondition_failed", client.RetrySameKey))
		_, err := c.EditPayment(t.Context(), "pay_1", 3,
			client.PaymentPatch{Description: new("x")})
		e, ok := errors.AsType[*client.Error](err)
		if !isUnknown(t, err, "") || !ok || e.Code != "precondition_failed" {
			t.Errorf("got %v", err)
		}
	})
}
