package tracing

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

const (
	triesMax       = 4
	firstPauseMax  = 500 * time.Millisecond
	answerSizeRead = 4 << 10
)

// collector sends spans by OTLP over HTTP. OpenTelemetry's own client for that protocol is not used for one reason: it brings
// in all of gRPC, which it does not speak, and that would be a sixth of the time in which this program compiles. What it would do is
// little: post a protobuf, and try again when told to.
type collector struct {
	settings *Settings
	client   *http.Client
}

func newCollector(s *Settings) otlptrace.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	return &collector{settings: s, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Start has nothing to do: connections are made when they are needed.
func (c *collector) Start(context.Context) error { return nil }

// Stop closes the connections.
func (c *collector) Stop(context.Context) error {
	c.client.CloseIdleConnections()
	return nil
}

// UploadTraces delivers spans, within the time limit. It tries again when the collector says that this may help, or says nothing.
func (c *collector) UploadTraces(ctx context.Context, resourceSpans []*spans.ResourceSpans) error {
	// TracesData has the form, on the wire, of the collector's ExportTraceServiceRequest.
	body, err := proto.Marshal(&spans.TracesData{ResourceSpans: resourceSpans})
	if err != nil {
		return fmt.Errorf("encoding spans: %w", err)
	}
	if c.settings.gzip {
		body = compressed(body)
	}
	ctx, cancel := context.WithTimeout(ctx, c.settings.timeout)
	defer cancel()
	for try := 1; ; try++ {
		again, err := c.post(ctx, body)
		if err == nil || !again || try == triesMax {
			return err
		}
		select {
		case <-time.After(rand.N(firstPauseMax << try)): //nolint:gosec // jitter needs no secrecy
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// mayPass are the answers that another try may change (the OTLP specification, "Failures").
var mayPass = []int{http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}

func (c *collector) post(ctx context.Context, body []byte) (again bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.settings.url, bytes.NewReader(body))
	if err != nil {
		return false, fmt.Errorf("sending spans: %w", err)
	}
	request.Header = c.settings.header.Clone()
	request.Header.Set("Content-Type", "application/x-protobuf")
	if c.settings.gzip {
		request.Header.Set("Content-Encoding", "gzip")
	}
	answer, err := c.client.Do(request)
	if err != nil {
		return true, fmt.Errorf("sending spans: %w", err)
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, answerSizeRead) // so that the connection can be used again
	if answer.StatusCode/100 != 2 {
		return slices.Contains(mayPass, answer.StatusCode), fmt.Errorf("sending spans: the collector answered %s", answer.Status)
	}
	return false, nil
}

func compressed(body []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(body) // to memory
	_ = w.Close()
	return out.Bytes()
}
