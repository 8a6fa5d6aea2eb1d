package tracing

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTracingIsOnIfTheEnvironmentNamesACollector(t *testing.T) {
	t.Parallel()
	const general, special = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	for _, test := range []struct {
		name        string
		environment map[string]string
		url         string // "": off
	}{
		{"nothing", nil, ""},
		{"a name alone", map[string]string{"OTEL_SERVICE_NAME": "x"}, ""},
		{"one for everything", map[string]string{general: "http://collector:4318"}, "http://collector:4318/v1/traces"},
		{"one with a path", map[string]string{general: "https://collector/otlp/"}, "https://collector/otlp/v1/traces"},
		{"one for traces", map[string]string{special: "http://collector:4318/mine"}, "http://collector:4318/mine"},
		{"both", map[string]string{general: "http://a:1", special: "http://b:2/"}, "http://b:2/"},
		{"off", map[string]string{general: "http://a:1", "OTEL_SDK_DISABLED": "true"}, ""},
		{"no traces", map[string]string{general: "http://a:1", "OTEL_TRACES_EXPORTER": "none"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := ReadSettings(func(name string) string { return test.environment[name] })
			if err != nil {
				t.Fatal(err)
			}
			url := ""
			if s != nil {
				url = s.url
			}
			if url != test.url {
				t.Errorf("spans go to %q, want %q", url, test.url)
			}
		})
	}
}

func TestTheStandardSettingsOfTheExporterAreFollowed(t *testing.T) {
	t.Parallel()
	s, err := ReadSettings(func(name string) string {
		return map[string]string{
			"OTEL_EXPORTER_OTLP_ENDPOINT":           "http://collector:4318",
			"OTEL_EXPORTER_OTLP_PROTOCOL":           "http/protobuf",
			"OTEL_EXPORTER_OTLP_HEADERS":            "Authorization=Basic%20eA%3D%3D, x-tenant = 7",
			"OTEL_EXPORTER_OTLP_TIMEOUT":            "10",
			"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT":     "2500",
			"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "gzip",
		}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	want := http.Header{"Authorization": {"Basic eA=="}, "X-Tenant": {"7"}}
	if !maps.EqualFunc(s.header, want, slices.Equal) {
		t.Errorf("headers %v, want %v", s.header, want)
	}
	if s.timeout != 2500*time.Millisecond || !s.gzip {
		t.Errorf("%v and gzip %t, want 2.5 s and gzip", s.timeout, s.gzip)
	}
}

// Otherwise spans would go nowhere, or in the clear, and nobody would know.
func TestWhatCannotBeFollowedIsAnErrorWithoutItsSecret(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT":           "collector-secret:4318",
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT":    "unix:///secret",
		"OTEL_EXPORTER_OTLP_PROTOCOL":           "grpc",
		"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL":    "http/json",
		"OTEL_EXPORTER_OTLP_HEADERS":            "secret",
		"OTEL_EXPORTER_OTLP_TIMEOUT":            "10s",
		"OTEL_EXPORTER_OTLP_COMPRESSION":        "zstd",
		"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE": "/secret.pem",
		"OTEL_EXPORTER_OTLP_CLIENT_KEY":         "/secret.pem",
		"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "/secret.pem",
	} {
		environment := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", name: value}
		_, err := ReadSettings(func(name string) string { return environment[name] })
		if err == nil || !strings.HasPrefix(err.Error(), name+": ") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
}
