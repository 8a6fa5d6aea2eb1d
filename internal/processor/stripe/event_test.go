package stripe_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v84/webhook"

	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

func eventText(kind, object string) string {
	return `{"id":"evt_1","object":"event","api_version":"2019-12-03","created":1764547200,` +
		`"type":"` + kind + `","data":{"object":` + object + `}}`
}

// sign is the header of an event that was sent at a time.
func sign(body string, at time.Time, secrets ...string) string {
	header := fmt.Sprintf("t=%d", at.Unix())
	for _, secret := range secrets {
		header += ",v1=" + hex.EncodeToString(webhook.ComputeSignature(at, []byte(body), secret))
	}
	return header
}

func TestSignatureIsChecked(t *testing.T) {
	t.Parallel()
	c := newClient("http://processor.invalid")
	now := time.Unix(1764547200, 0)
	body := eventText("payment_intent.succeeded", intentText)
	for name, row := range map[string]struct {
		body, signature string
		taken           bool
	}{
		"current secret":     {body, sign(body, now, "whsec_new"), true},
		"secret before it":   {body, sign(body, now, "whsec_old"), true},
		"both":               {body, sign(body, now, "whsec_other", "whsec_old"), true},
		"scheme of the past": {body, "v0=00," + sign(body, now, "whsec_new"), true},
		"another secret":     {body, sign(body, now, "whsec_other"), false},
		"empty secret":       {body, sign(body, now, ""), false},
		"another body":       {body + " ", sign(body, now, "whsec_new"), false},
		"five minutes old":   {body, sign(body, now.Add(-5*time.Minute), "whsec_new"), true},
		"older":              {body, sign(body, now.Add(-301*time.Second), "whsec_new"), false},
		"from the future":    {body, sign(body, now.Add(301*time.Second), "whsec_new"), false},
		"two times": {
			body, "t=1," + sign(body, now, "whsec_new"), false,
		},
		"no time":      {body, sign(body, now, "whsec_new")[len("t=1764547200,"):], false},
		"no number":    {body, "t=now,v1=00", false},
		"huge number":  {body, "t=99999999999999999999,v1=00", false},
		"nothing":      {body, "", false},
		"no hex":       {body, "t=1764547200,v1=zz", false},
		"no signature": {body, "t=1764547200", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := c.ReadEvent([]byte(row.body), row.signature, now)
			if row.taken != (err == nil) || !row.taken && !errors.Is(err, stripe.ErrSignature) {
				t.Errorf("got %v, want it to be taken: %t", err, row.taken)
			}
		})
	}
}

func TestWithoutSecretNoEventIsTaken(t *testing.T) {
	t.Parallel()
	body := eventText("x", `{}`)
	for _, secrets := range [][]string{nil, {""}, {"", ""}} {
		c := stripe.New(stripe.Config{WebhookSecrets: secrets})
		_, err := c.ReadEvent([]byte(body), sign(body, since, ""), since)
		if !errors.Is(err, stripe.ErrSignature) {
			t.Errorf("%q: got %v", secrets, err)
		}
	}
}

func TestEventsNameTheirIntent(t *testing.T) {
	t.Parallel()
	c := newClient("http://processor.invalid")
	for kind, row := range map[string]struct {
		object, intentID        string
		intent, refund, dispute bool
	}{
		"payment_intent.succeeded": {intentText, "pi_1", true, false, false},
		"refund.updated":           {refundText, "pi_1", false, true, false},
		"charge.refund.updated":    {refundText, "pi_1", false, true, false},
		"charge.dispute.created":   {disputeText, "pi_1", false, false, true},
		"charge.refunded": {
			`{"id":"ch_1","object":"charge","payment_intent":"pi_1"}`, "pi_1", false, false, false,
		},
		"charge.succeeded": {
			`{"id":"ch_1","object":"charge","payment_intent":null}`, "", false, false, false,
		},
		"payment_intent.processing": { // another API version, in another shape
			change(t, intentText, `4999`, `"49.99"`), "pi_1", false, false, false,
		},
		"customer.created": {`{"id":"cus_1","object":"customer"}`, "", false, false, false},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			body := eventText(kind, row.object)
			got, err := c.ReadEvent([]byte(body), sign(body, since, "whsec_new"), since)
			if err != nil {
				t.Fatal(err)
			}
			if got.ID != "evt_1" || got.Type != kind || got.IntentID != row.intentID ||
				!got.CreatedAt.Equal(time.Unix(1764547200, 0)) ||
				(got.Intent != nil) != row.intent || (got.Refund != nil) != row.refund ||
				(got.Dispute != nil) != row.dispute {
				t.Errorf("got %+v", got)
			}
			if row.intent && (got.Intent.Owner != owner || got.Intent.Amount != usd) {
				t.Errorf("got %+v", got.Intent)
			}
			if row.refund && (got.Refund.Owner != owner || got.Refund.Amount != usd) {
				t.Errorf("got %+v", got.Refund)
			}
			if row.dispute && (got.Dispute.Amount != usd || got.Dispute.Reason != "fraudulent") {
				t.Errorf("got %+v", got.Dispute)
			}
		})
	}
}

func TestSignedGarbageIsAnError(t *testing.T) {
	t.Parallel()
	c := newClient("http://processor.invalid")
	for _, body := range []string{
		"", "x", "null", "[]", `{}`, `{"object":"event"}`, eventText("", "{}"),
		eventText("x", "null"), eventText("x", `"pi_1"`), eventText("x", `[1]`),
		`{"id":"evt_1","object":"event","type":"x"}`,
		`{"id":"evt_1","object":"event","type":"x","data":{}}`,
		`{"id":"evt_1","object":"v2.core.event","type":"x","data":{"object":{}}}`,
	} {
		_, err := c.ReadEvent([]byte(body), sign(body, since, "whsec_new"), since)
		t.Logf("%s: %v", body, err)
		if errors.Is(err, stripe.ErrSignature) {
			t.Errorf("%s: the signature was refused", body)
		}
		if err == nil && body != eventText("x", "null") {
			t.Errorf("%s was taken", body)
		}
	}
}
