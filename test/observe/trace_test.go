package observe

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/service"
)

// collector is where an instance sends its spans.
type collector struct {
	url string

	mu    sync.Mutex // guards what follows
	spans []*otlp.Span
	raw   bytes.Buffer // everything, as it came
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var data otlp.TracesData
		if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &data) != nil {
			t.Errorf("%s got what are not spans: %v", r.URL.Path, err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.raw.Write(body)
		for _, resource := range data.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
	}))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

// where are the spans for which the condition holds.
func (c *collector) where(holds func(*otlp.Span) bool) (found []*otlp.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, span := range c.spans {
		if holds(span) {
			found = append(found, span)
		}
	}
	return found
}

// one waits for the one span for which the condition holds.
func (c *collector) one(t *testing.T, what string, holds func(*otlp.Span) bool) *otlp.Span {
	t.Helper()
	var found []*otlp.Span
	await.Until(t, 10*time.Second, "the collector has "+what, func() bool {
		found = c.where(holds)
		return len(found) > 0
	})
	if len(found) > 1 {
		t.Fatalf("the collector has %d of %s", len(found), what)
	}
	return found[0]
}

func attribute(span *otlp.Span, name string) string {
	for _, a := range span.Attributes {
		if a.Key == name {
			if text := a.Value.GetStringValue(); text != "" {
				return text
			}
			return fmt.Sprint(a.Value.GetIntValue())
		}
	}
	return ""
}

func links(from, to *otlp.Span) bool {
	return slices.ContainsFunc(from.Links, func(l *otlp.Span_Link) bool {
		return bytes.Equal(l.SpanId, to.SpanId) && bytes.Equal(l.TraceId, to.TraceId)
	})
}

const (
	traceID  = "0af7651916cd43dd8448eb211c80319c"
	parentID = "b7ad6b7169203331"
)

func TestTheSpansOfAChargeLeadFromTheRequestToItsSQL(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	in, m := start(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.url, "OTEL_BSP_SCHEDULE_DELAY=50",
		"LOG_LEVEL=debug")
	m.Traceparent = "00-" + traceID + "-" + parentID + "-01"
	const key, amount = "a-key-that-is-nobodys-business", 48_613_579
	answer := m.Charge(t.Context(), in.URL(), key, journal.NewCharge(amount))
	if answer.Status != http.StatusCreated {
		t.Fatal(answer)
	}

	request := c.one(t, "the request", func(s *otlp.Span) bool {
		return hex.EncodeToString(s.TraceId) == traceID && s.Name == "POST /payments"
	})
	if hex.EncodeToString(request.ParentSpanId) != parentID ||
		request.Kind != otlp.Span_SPAN_KIND_SERVER {
		t.Errorf("the request's span is not the child of its caller's: %v", request)
	}
	for name, want := range map[string]string{
		"http.route": "/payments", "http.request.method": "POST",
		"http.response.status_code": "201",
		"paymentsvc.request_id":     answer.RequestID(),
		"paymentsvc.payment_id":     answer.PaymentID(),
	} {
		if got := attribute(request, name); got != want {
			t.Errorf("the request's %s is %q, want %q", name, got, want)
		}
	}
	batch := c.one(t, "its batch", func(s *otlp.Span) bool {
		return s.Name == "batch" && links(s, request)
	})
	if len(batch.ParentSpanId) != 0 || !links(request, batch) ||
		attribute(batch, "paymentsvc.keys") != "1" {
		t.Errorf("the batch is not a root that the request links to: %v", batch)
	}
	var statements []string
	for _, span := range c.where(func(s *otlp.Span) bool {
		return bytes.Equal(s.TraceId, batch.TraceId) && s != batch
	}) {
		statements = append(statements, attribute(span, "db.query.text"))
	}
	for _, want := range []string{
		"INSERT INTO idempotency_keys", "FOR NO KEY UPDATE",
		"INSERT INTO payments", "COMMIT",
	} {
		if !slices.ContainsFunc(statements, func(text string) bool {
			return strings.Contains(text, want)
		}) {
			t.Errorf("the batch has no %s among\n%s", want, strings.Join(statements, "\n"))
		}
	}
	if probes := c.where(func(s *otlp.Span) bool {
		return strings.HasSuffix(attribute(s, "http.route"), "z")
	}); len(probes) > 0 {
		t.Errorf("health checks are traced: %v", probes)
	}
	if line := logLine(in, answer.RequestID()); line["trace_id"] != traceID ||
		line["span_id"] != hex.EncodeToString(request.SpanId) {
		t.Errorf("the request's line in the log does not name its trace: %v", line)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, secret := range []string{key, m.APIKey, journal.Shops[0], fmt.Sprint(amount)} {
		if bytes.Contains(c.raw.Bytes(), []byte(secret)) {
			t.Errorf("the spans hold %s", secret)
		}
	}
}

// logLine is what the instance has logged about a request.
func logLine(in *service.Instance, requestID string) (line map[string]any) {
	for text := range strings.Lines(in.Stderr.String()) {
		var attributes map[string]any
		if json.Unmarshal([]byte(text), &attributes) == nil &&
			attributes["request_id"] == requestID {
			return attributes
		}
	}
	return nil
}

// A request that its caller does not sample leaves no span of its batch either. A shutdown sends
// the last spans.
func TestSampledRequestsAreTracedAndSent(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	in, m := start(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.url, "OTEL_BSP_SCHEDULE_DELAY=600000",
		"OTEL_TRACES_SAMPLER=parentbased_always_off")
	charges := 0
	charge := func(flags string) {
		t.Helper()
		m.Traceparent = "00-" + traceID + "-" + parentID + "-" + flags
		charges++
		key := fmt.Sprint(charges)
		answer := m.Charge(t.Context(), in.URL(), key, journal.NewCharge(100))
		if answer.Status != http.StatusCreated {
			t.Fatal(answer)
		}
	}
	charge("00")
	charge("01")
	charge("00")
	if code := in.Terminate(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	requests := c.where(func(s *otlp.Span) bool { return s.Kind == otlp.Span_SPAN_KIND_SERVER })
	batches := c.where(func(s *otlp.Span) bool { return s.Name == "batch" })
	commits := c.where(func(s *otlp.Span) bool {
		return attribute(s, "db.query.text") == "COMMIT"
	})
	if len(requests) != 1 || len(batches) != 1 || len(commits) != 1 {
		t.Errorf("%d requests, %d batches and %d COMMITs were traced, want one of each",
			len(requests), len(batches), len(commits))
	}
}

// A collector that is away costs spans, and no charge.
func TestMissingCollectorDelaysNoCharge(t *testing.T) {
	t.Parallel()
	in, m := start(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1",
		"OTEL_BSP_SCHEDULE_DELAY=10", "OTEL_EXPORTER_OTLP_TIMEOUT=100")
	for i := range 10 {
		answer := m.Charge(t.Context(), in.URL(), fmt.Sprint(i), journal.NewCharge(100))
		if answer.Status != http.StatusCreated {
			t.Error(answer)
		}
	}
	await.Until(t, 10*time.Second, "the log says so", func() bool {
		return in.Stderr.Count("traces export") > 0
	})
	if code := in.Terminate(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
}
