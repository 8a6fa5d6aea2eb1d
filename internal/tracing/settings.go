package tracing

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// exportTimeout is how long one delivery may take, unless the environment says otherwise (the standard's default).
const exportTimeout = 10 * time.Second

// Settings say where spans go, and how.
type Settings struct {
	url     string
	header  http.Header
	timeout time.Duration
	gzip    bool
}

// ReadSettings reads the standard environment (the OpenTelemetry specification, "OTLP exporter"); nil means that it names
// no collector, or turns tracing off. Sampler, service name, resource and the queue of spans are read by OpenTelemetry itself
// (OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_BSP_…). What is set and cannot be followed is
// an error, and not silently something else.
func ReadSettings(getenv func(string) string) (*Settings, error) {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") || getenv("OTEL_TRACES_EXPORTER") == "none" {
		return nil, nil
	}
	endpoint, err := endpointOf(getenv)
	if endpoint == "" && err == nil {
		return nil, nil
	}
	s := &Settings{url: endpoint, header: http.Header{}, timeout: exportTimeout}
	for _, setting := range []struct {
		name  string
		apply func(value string) error
	}{
		{"PROTOCOL", requireOne("http/protobuf")},
		{"COMPRESSION", s.compress},
		{"HEADERS", s.addHeaders},
		{"TIMEOUT", s.limit},
		{"CERTIFICATE", requireOne()},
		{"CLIENT_CERTIFICATE", requireOne()},
		{"CLIENT_KEY", requireOne()},
	} {
		name, value := exporterSetting(getenv, setting.name)
		if value == "" {
			continue
		}
		if problem := setting.apply(value); problem != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", name, problem)) // without the value: headers are secrets
		}
	}
	return s, err
}

// exporterSetting reads a setting of the exporter: the one for traces, else the one for everything.
func exporterSetting(getenv func(string) string, suffix string) (name, value string) {
	if name = "OTEL_EXPORTER_OTLP_TRACES_" + suffix; getenv(name) == "" {
		name = "OTEL_EXPORTER_OTLP_" + suffix
	}
	return name, getenv(name)
}

// endpointOf is the address for spans: as it is given for traces, or with the standard path after that for everything.
func endpointOf(getenv func(string) string) (string, error) {
	name, value := exporterSetting(getenv, "ENDPOINT")
	if value == "" {
		return "", nil
	}
	endpoint, err := url.Parse(value)
	if err != nil || endpoint.Host == "" || endpoint.Scheme != "http" && endpoint.Scheme != "https" {
		return "", fmt.Errorf("%s: is not an address such as http://127.0.0.1:4318", name)
	}
	if name == "OTEL_EXPORTER_OTLP_ENDPOINT" {
		endpoint = endpoint.JoinPath("v1", "traces")
	}
	return endpoint.String(), nil
}

// requireOne allows the values, of which there may be none.
func requireOne(allowed ...string) func(string) error {
	return func(value string) error {
		switch {
		case slices.Contains(allowed, value):
			return nil
		case len(allowed) == 0:
			return errors.New("is not supported; the system's certificates are used")
		}
		return fmt.Errorf("only %s is supported", strings.Join(allowed, ", "))
	}
}

func (s *Settings) compress(value string) error {
	s.gzip = value == "gzip"
	return requireOne("gzip", "none")(value)
}

// addHeaders reads name=value pairs, separated by commas and escaped as in a URL.
func (s *Settings) addHeaders(value string) error {
	for pair := range strings.SplitSeq(value, ",") {
		name, escaped, ok := strings.Cut(pair, "=")
		text, err := url.PathUnescape(strings.TrimSpace(escaped))
		if !ok || err != nil {
			return errors.New("is not a list such as name=value,name=value")
		}
		s.header.Set(strings.TrimSpace(name), text)
	}
	return nil
}

func (s *Settings) limit(value string) error {
	milliseconds, err := strconv.Atoi(value)
	if err != nil || milliseconds < 1 {
		return errors.New("is not a number of milliseconds")
	}
	s.timeout = time.Duration(milliseconds) * time.Millisecond
	return nil
}
