package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/payments"
)

// statusHungUp counts and logs a request whose client hung up before it was answered. It
// is nginx's status, and is never sent.
const statusHungUp = 499

// slowRequest is the duration from which a request is logged at level info.
const slowRequest = time.Second

// Exchange is a request and its answer, for logs, metrics and traces. It holds no body,
// no path and no key.
type Exchange struct {
	RequestID string
	Method    string // "_OTHER" if the API does not have it: a caller may send any text
	Route     string // the pattern of the route; "": none
	// Status is 0 if the connection was closed before there was an answer, and 499 if that
	// was the client and the request was given up. It may have charged, as after a 503.
	Status     int
	Code       string // of the problem; "": none
	Replayed   bool   // the answer was made for an earlier request under the same key
	MerchantID int64  // 0: not authenticated
	PaymentID  string // that the request is about; "": none
	// Operation is the change of money, "charge", that the answer reports; "": none.
	Operation         string
	OriginalRequestID string // of a replay; else ""
	Bytes             int    // of the answer's body
	Duration          time.Duration
	Streamed          bool // the answer was a stream, so its duration says nothing
}

// result is what a change of money came to; "" for other requests.
func (x *Exchange) result() string {
	switch {
	case x.Operation == "":
		return ""
	case x.Status == http.StatusPaymentRequired:
		return "declined"
	}
	return "done"
}

// observe reports every request after its answer to the log and to the observers in
// Config.
func (a *api) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		end := func(*Exchange) {}
		if a.Trace != nil {
			var ctx context.Context
			ctx, end = a.Trace(r)
			r = r.WithContext(ctx)
		}
		answer := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		defer func() { // also after a panic that closes the connection
			x := exchangeOf(r, answer, time.Since(began))
			a.log(r, x)
			if a.Answered != nil {
				a.Answered(x)
			}
			end(x)
		}()
		next.ServeHTTP(answer, r)
	})
}

func exchangeOf(
	r *http.Request, answer middleware.WrapResponseWriter, took time.Duration,
) *Exchange {
	req := requestOf(r)
	x := &Exchange{
		RequestID:  answer.Header().Get("Request-Id"),
		Method:     knownMethod(r.Method),
		Route:      chi.RouteContext(r.Context()).RoutePattern(), // only complete after routing
		Status:     answer.Status(),
		Code:       req.code,
		Replayed:   req.replayed(),
		MerchantID: req.identity.MerchantID,
		Bytes:      answer.BytesWritten(),
		Duration:   took,
		Streamed:   req.streamed,
	}
	if req.paymentID != (uuid.UUID{}) {
		x.PaymentID = payments.FormatID(req.paymentID)
	}
	if req.reply != nil {
		x.Operation = req.reply.Operation
	}
	if x.Replayed {
		x.OriginalRequestID = payments.FormatRequestID(req.reply.RequestID)
	}
	// Only a client that hangs up cancels the context: a request's time limit is a deadline.
	if x.Status == http.StatusServiceUnavailable && r.Context().Err() == context.Canceled {
		x.Status, x.Code = statusHungUp, ""
	}
	return x
}

// knownMethod is the method if the API has it, else OpenTelemetry's name for the others.
func knownMethod(method string) string {
	if slices.Contains(methods, method) {
		return method
	}
	return "_OTHER"
}

// log writes one line about a request: at level error for a fault of the service, at
// info for a change of money, a slow request and one whose client hung up, else at debug.
func (a *api) log(r *http.Request, x *Exchange) {
	req := requestOf(r)
	level := slog.LevelDebug
	switch {
	case x.Status != statusHungUp && req.err != nil:
		level = slog.LevelError
	case x.Operation != "", x.Status == statusHungUp,
		x.Duration >= slowRequest && !x.Streamed:
		level = slog.LevelInfo
	}
	if !a.Logger.Enabled(r.Context(), level) {
		return
	}
	attributes := append(make([]slog.Attr, 0, 16),
		slog.String("request_id", x.RequestID),
		slog.String("method", x.Method),
		slog.String("route", x.Route),
		slog.Int("status", x.Status),
		slog.String("code", x.Code),
		slog.Float64("duration_seconds", x.Duration.Seconds()),
		slog.Int("bytes", x.Bytes),
		slog.Int64("merchant_id", x.MerchantID),
		slog.Bool("replayed", x.Replayed),
	)
	for _, known := range [][2]string{
		{"payment_id", x.PaymentID},
		{"operation", x.Operation},
		{"result", x.result()},
		{"original_request_id", x.OriginalRequestID},
	} {
		if known[1] != "" {
			attributes = append(attributes, slog.String(known[0], known[1]))
		}
	}
	if req.err != nil {
		attributes = append(attributes, slog.Any("error", req.err))
	}
	if req.stack != "" {
		attributes = append(attributes, slog.String("stack", req.stack))
	}
	a.Logger.LogAttrs(r.Context(), level, "request", attributes...)
}
