package tracing

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/go-logr/logr/funcr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
)

// Settings hold the exporter of spans.
type Settings struct{ exporter *otlptrace.Exporter }

// forms are the allowed values. The exporter would silently replace a wrong value with a
// default, and its message about HEADERS would show a secret.
var forms = [][2]string{
	{"ENDPOINT", `https?://[^/?#@]+(/[^?#]*)?`},
	{"PROTOCOL", `http/(protobuf|json)`},
	{"COMPRESSION", `gzip|none`},
	{"HEADERS", `[^=,]+=([^,%]|%[0-9A-Fa-f]{2})*(,[^=,]+=([^,%]|%[0-9A-Fa-f]{2})*)*`},
}

// ReadSettings makes OpenTelemetry's OTLP exporter, which reads its own environment
// variables. It returns nil if they name no collector or turn tracing off. A wrong value
// is an error.
func ReadSettings(ctx context.Context) (*Settings, error) {
	const prefix = "OTEL_EXPORTER_OTLP_"
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") ||
		os.Getenv("OTEL_TRACES_EXPORTER") == "none" ||
		os.Getenv(prefix+"ENDPOINT")+os.Getenv(prefix+"TRACES_ENDPOINT") == "" {
		return nil, nil
	}
	var wrong []error
	for _, prefix := range []string{prefix, prefix + "TRACES_"} {
		for _, form := range forms {
			value, pattern := os.Getenv(prefix+form[0]), regexp.MustCompile("^("+form[1]+")$")
			if value != "" && !pattern.MatchString(value) {
				wrong = append(wrong, fmt.Errorf("%s%s: must match %s", prefix, form[0], form[1]))
			}
		}
		if os.Getenv(prefix+"CLIENT_KEY") == "" != (os.Getenv(prefix+"CLIENT_CERTIFICATE") == "") {
			wrong = append(wrong, fmt.Errorf("%sCLIENT_KEY: give it and %[1]sCLIENT_CERTIFICATE, "+
				"or neither", prefix))
		}
	}
	if wrong != nil {
		return nil, errors.Join(wrong...)
	}
	// The exporter logs other wrong values and ignores them. Here they are errors.
	otel.SetLogger(funcr.New(func(_, complaint string) {
		wrong = append(wrong, fmt.Errorf("%s…: %s", prefix, complaint))
	}, funcr.Options{RenderArgsHook: func([]any) []any { return nil }}))
	exporter, err := otlptracehttp.New(ctx)
	return &Settings{exporter}, errors.Join(append(wrong, err)...)
}
