// Package tracing records requests as OpenTelemetry spans: the request, the batch that
// carried it, and the batch's SQL.
//
// A batch is one transaction for many requests, so it cannot be part of one request's
// trace. It is the root of its own trace, with links to its requests, and each of them
// gets a link to it. A batch is traced if one of its requests is sampled.
//
// Spans hold no body, no amount, no key and no path. A request's span has its route's
// pattern. A statement's span has its text, whose values are parameters.
package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/exaring/otelpgx"
	"github.com/go-logr/logr"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/paymentsvc/paymentsvc/internal/httpapi"
)

const (
	tracerName  = "github.com/paymentsvc/paymentsvc"
	serviceName = "paymentsvc" // unless OTEL_SERVICE_NAME says otherwise
)

// Tracing makes an instance's spans. Shutdown ends it.
type Tracing struct {
	provider   *sdk.TracerProvider
	requests   trace.Tracer // samples by OTEL_TRACES_SAMPLER
	batches    trace.Tracer // samples always; used only for a sampled request
	sql        pgx.QueryTracer
	propagator propagation.TraceContext // W3C traceparent and tracestate
}

// Start begins to trace. Spans that cannot be sent are logged and dropped. They affect
// no request.
func Start(ctx context.Context, s *Settings, logger *slog.Logger) (*Tracing, error) {
	otel.SetLogger(logr.FromSlogHandler(logger.Handler()))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		logger.Warn("tracing", "error", err)
	}))
	origin, err := resource.New(ctx, resource.WithAttributes(semconv.ServiceName(serviceName)),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("describing this instance for traces: %w", err)
	}
	processor := sdk.NewBatchSpanProcessor(s.exporter)
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(processor), sdk.WithResource(origin))
	limits := sdk.NewSpanLimits()
	limits.LinkCountLimit = -1 // a batch has a maximum size itself
	following := sdk.NewTracerProvider(sdk.WithSpanProcessor(processor), sdk.WithResource(origin),
		sdk.WithSampler(sdk.AlwaysSample()), sdk.WithRawSpanLimits(limits))
	return &Tracing{
		provider: provider,
		requests: provider.Tracer(tracerName),
		batches:  following.Tracer(tracerName),
		// otelpgx begins a span only inside another span.
		sql: otelpgx.NewTracer(otelpgx.WithTracerProvider(following),
			otelpgx.WithDisableConnectionDetailsInAttributes()),
	}, nil
}

// Shutdown sends the remaining spans.
func (t *Tracing) Shutdown(ctx context.Context) error { return t.provider.Shutdown(ctx) }

// SQL traces the statements of a traced request or batch.
func (t *Tracing) SQL() pgx.QueryTracer { return t.sql }

// Request begins the span of a request, in its caller's trace if there is one. It returns
// a function that ends the span. Health checks are not traced.
func (t *Tracing) Request(r *http.Request) (context.Context, func(*httpapi.Exchange)) {
	if r.URL.Path == "/livez" || r.URL.Path == "/readyz" {
		return r.Context(), func(*httpapi.Exchange) {}
	}
	ctx := t.propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := t.requests.Start(ctx, "request", trace.WithSpanKind(trace.SpanKindServer))
	return ctx, func(x *httpapi.Exchange) {
		span.SetName(strings.TrimSpace(x.Method + " " + x.Route))
		span.SetAttributes(
			semconv.HTTPRequestMethodKey.String(x.Method),
			semconv.HTTPRoute(x.Route),
			semconv.HTTPResponseStatusCode(x.Status),
			semconv.HTTPResponseBodySize(x.Bytes),
			attribute.String("paymentsvc.request_id", x.RequestID),
			attribute.Int64("paymentsvc.merchant_id", x.MerchantID),
			attribute.Bool("paymentsvc.replayed", x.Replayed),
		)
		if x.PaymentID != "" {
			span.SetAttributes(attribute.String("paymentsvc.payment_id", x.PaymentID))
		}
		if x.Replayed {
			span.SetAttributes(
				attribute.String("paymentsvc.original_request_id", x.OriginalRequestID))
		}
		if x.Code != "" {
			span.SetAttributes(semconv.ErrorTypeKey.String(x.Code))
		}
		if x.Status == 0 || x.Status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, x.Code)
		}
		span.End()
	}
}

// Batch begins the span of the transaction for these requests, if one of them is
// sampled. It returns a function that ends the span.
func (t *Tracing) Batch(
	ctx context.Context, requests []context.Context,
) (context.Context, func(error)) {
	var links []trace.Link
	for _, request := range requests {
		if span := trace.SpanContextFromContext(request); span.IsSampled() {
			links = append(links, trace.Link{SpanContext: span})
		}
	}
	if len(links) == 0 {
		return ctx, func(error) {}
	}
	ctx, span := t.batches.Start(ctx, "batch", trace.WithNewRoot(), trace.WithLinks(links...),
		trace.WithAttributes(attribute.Int("paymentsvc.keys", len(requests))))
	back := trace.Link{SpanContext: span.SpanContext()}
	for _, request := range requests {
		trace.SpanFromContext(request).AddLink(back)
	}
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, "") // the reason is in the log
		}
		span.End()
	}
}
