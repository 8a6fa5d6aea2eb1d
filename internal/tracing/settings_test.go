package tracing

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	endpoint       = "OTEL_EXPORTER_OTLP_ENDPOINT"
	tracesEndpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
)

// setenv sets these variables, and no other of OpenTelemetry.
func setenv(t *testing.T, environment map[string]string) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
	for name, value := range environment {
		t.Setenv(name, value)
	}
}

func TestTracingIsOnIfTheEnvironmentNamesACollector(t *testing.T) {
	for _, test := range []struct {
		name        string
		environment map[string]string
		on          bool
	}{
		{"nothing", nil, false},
		{"a name alone", map[string]string{"OTEL_SERVICE_NAME": "x"}, false},
		{"for everything", map[string]string{endpoint: "http://collector:4318"}, true},
		{"with a path", map[string]string{endpoint: "https://collector/otlp/"}, true},
		{"for traces", map[string]string{tracesEndpoint: "http://collector:4318/mine"}, true},
		{"off", map[string]string{endpoint: "http://a:1", "OTEL_SDK_DISABLED": "true"}, false},
		{"none", map[string]string{endpoint: "http://a:1", "OTEL_TRACES_EXPORTER": "none"}, false},
		{"all settings", map[string]string{
			endpoint:                                "http://collector:4318",
			"OTEL_EXPORTER_OTLP_PROTOCOL":           "http/protobuf",
			"OTEL_EXPORTER_OTLP_HEADERS":            "Authorization=Basic%20eA%3D, x-a = 7",
			"OTEL_EXPORTER_OTLP_TIMEOUT":            "2500",
			"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "gzip",
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			setenv(t, test.environment)
			settings, err := ReadSettings(t.Context())
			if err != nil || (settings != nil) != test.on {
				t.Errorf("tracing is on: %t, want %t (%v)", settings != nil, test.on, err)
			}
		})
	}
}

// Without the error, spans would go nowhere, or in the clear, and the log alone would
// say so.
func TestAWrongSettingIsAnErrorWithoutItsSecret(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "garbage.pem")
	if err := os.WriteFile(garbage, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, value, says string }{
		{endpoint, "collector-secret:4318", endpoint + ": must match"},
		{endpoint, "http://user:secret@collector:4318", endpoint + ": must match"},
		{tracesEndpoint, "unix:///secret", tracesEndpoint + ": must match"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL: must match"},
		{"OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "OTEL_EXPORTER_OTLP_COMPRESSION: must match"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "secret", "OTEL_EXPORTER_OTLP_HEADERS: must match"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "x=%secret", "OTEL_EXPORTER_OTLP_HEADERS: must match"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "x: secret=", "invalid header key"},
		{"OTEL_EXPORTER_OTLP_CLIENT_KEY", "/secret.pem", "OTEL_EXPORTER_OTLP_CLIENT_KEY: give"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "parse duration"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", "/missing.pem", "open /missing.pem"},
		{"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", garbage, "append certificate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			setenv(t, map[string]string{endpoint: "https://127.0.0.1:4318", test.name: test.value})
			_, err := ReadSettings(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.says) ||
				strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v", test.value, err)
			}
		})
	}
}
