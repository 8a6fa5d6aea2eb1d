package app

import (
	"slices"
	"strings"
	"testing"
)

func TestProcessorSettingsAreCheckedAndShowNoSecret(t *testing.T) {
	t.Parallel()
	right := ProcessorSettings{
		StripeSecretKey: "sk_test_1", StripeURL: "http://127.0.0.1:12111/",
		StripeWebhookSecrets: "whsec_new, whsec_old\n", ProcessorTimeout: "10s",
		ProcessorResendWindow: "12h", ProcessorKeyWindow: "24h",
	}
	settings, err := right.Parse()
	if err != nil || !slices.Equal(settings.WebhookSecrets, []string{"whsec_new", "whsec_old"}) {
		t.Errorf("%q, %v", settings.WebhookSecrets, err)
	}
	for complaint, spoil := range map[string]func(*ProcessorSettings){
		"STRIPE_SECRET_KEY: it has a space": func(s *ProcessorSettings) {
			s.StripeSecretKey += "\n"
		},
		"STRIPE_WEBHOOK_SECRETS: one of the secrets is empty": func(s *ProcessorSettings) {
			s.StripeWebhookSecrets = "whsec_new,"
		},
		"STRIPE_URL: it is not an address": func(s *ProcessorSettings) {
			s.StripeURL = "https://user:whsec_new@127.0.0.1"
		},
		"mean nothing without STRIPE_SECRET_KEY": func(s *ProcessorSettings) {
			s.StripeSecretKey = ""
		},
	} {
		wrong := right
		spoil(&wrong)
		if _, err := wrong.Parse(); err == nil || !strings.Contains(err.Error(), complaint) {
			t.Errorf("got %v, want %s", err, complaint)
		} else if strings.Contains(err.Error(), "sk_test") ||
			strings.Contains(err.Error(), "whsec_new") {
			t.Errorf("a secret is shown: %v", err)
		}
	}
}
