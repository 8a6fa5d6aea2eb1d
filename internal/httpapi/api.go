// Package httpapi is the HTTP API: it reads requests, calls the services, and writes
// answers. Its contract is api/openapi.yaml.
//
// A handler decodes a request, calls a service and writes the answer. It returns its
// errors: problem.go alone turns errors into problem documents. answer.go alone writes
// the answers of keyed requests.
package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"github.com/paymentsvc/paymentsvc/internal/cards"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/webhooks"
)

// Config of the API. RateLimit and the last group of fields are optional.
type Config struct {
	Payments       *payments.Service
	Accounts       *ledger.Accounts
	Feed           *outbox.Feed // nil: nobody may read it
	Streams        Streams
	Webhooks       *webhooks.Service // nil: there are none
	Cards          *cards.Service    // nil: there is no card processor
	CardAttempts   CardAttempts
	Authenticator  *merchants.Authenticator
	Ready          func() error  // nil while the instance can charge
	RateLimit      RateLimit     // of each merchant; zero: none
	RequestTimeout time.Duration // until a 503: outcome_unknown once its commit had begun
	Logger         *slog.Logger

	// Answered is called after each answer.
	Answered func(*Exchange)
	// Trace is called at the beginning of each request. It returns the request's new
	// context, and a function that is called after the answer.
	Trace func(*http.Request) (context.Context, func(*Exchange))
}

type api struct {
	Config
	streams         streams
	eventReads      *semaphore.Weighted
	processorEvents *semaphore.Weighted
	cardWaitMax     time.Duration
}

// New returns the handler of every public path.
func New(config Config) http.Handler {
	a := &api{
		Config: config, streams: newStreams(config.Streams),
		eventReads:      semaphore.NewWeighted(eventReadsAtOnce),
		processorEvents: semaphore.NewWeighted(processorEventsAtOnce),
		cardWaitMax:     cardWaitMax,
	}
	r := chi.NewRouter()
	r.Use(a.identify, a.observe, a.recoverPanic, a.echoKey, a.admit, middleware.GetHead)
	r.NotFound(a.handle(func(http.ResponseWriter, *http.Request) error { return errNotFound }))
	r.MethodNotAllowed(a.methodNotAllowed(r))
	r.Get("/livez", func(w http.ResponseWriter, _ *http.Request) {
		writeText(w, http.StatusOK, "ok\n")
	})
	r.Get("/readyz", a.readyz)
	a.routeDocs(r)
	a.routeConsole(r)
	r.With(a.refuseCrossOrigin, a.refuseQuery).
		Post("/processor-events/{processor}", a.handle(a.postProcessorEvent))
	r.Group(func(r chi.Router) {
		r.Use(a.refuseCrossOrigin, a.authenticate)
		if a.RateLimit != (RateLimit{}) {
			r.Use(newRateLimiter(a.RateLimit).limit(a))
		}
		r.Get("/accounts", a.handle(a.listAccounts))
		r.Get("/accounts/{id}", a.handle(a.getAccount))
		r.Get("/accounts/{id}/entries", a.handle(a.listEntries))
		r.Get("/payments", a.handle(a.listPayments))
		r.Get("/payments/{id}/refunds", a.handle(a.listRefunds))
		a.routeEvents(r)
		r.Group(func(r chi.Router) {
			r.Use(a.refuseQuery) // the handlers above read their query
			r.Put("/accounts/{id}", a.handle(a.putAccount))
			r.Delete("/accounts/{id}", a.handle(a.deleteAccount))
			r.Post("/payments", a.handle(a.postPayment))
			r.Get("/payments/{id}", a.handle(a.getPayment))
			r.Patch("/payments/{id}", a.handle(a.patchPayment))
			r.Post("/payments/{id}/capture", a.handle(a.postCapture))
			r.Post("/payments/{id}/cancel", a.handle(a.postCancel))
			r.Post("/payments/{id}/refunds", a.handle(a.postRefund))
			r.Get("/payments/{id}/refunds/{refund_id}", a.handle(a.getRefund))
			r.Get("/payments/{id}/attempts", a.handle(a.listCardAttempts))
		})
	})
	return r
}

// routeEvents routes what tells of events. Without a feed its paths are not found.
func (a *api) routeEvents(r chi.Router) {
	if a.Feed != nil {
		r.Get("/events", a.handle(a.listEvents))
		r.With(a.refuseQuery).Get("/events/{id}", a.handle(a.getEvent))
	}
	if a.Webhooks != nil {
		r.Get("/webhook-endpoints", a.handle(a.listWebhooks))
		r.Get("/webhook-endpoints/{id}/attempts", a.handle(a.listAttempts))
		r.Group(func(r chi.Router) {
			r.Use(a.refuseQuery)
			a.routeWebhooks(r)
		})
	}
}

// handle makes a handler of h, and answers its errors with problems.
func (a *api) handle(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			a.writeProblem(w, r, err)
		}
	}
}

// request holds the service's facts about one request. The middleware fills it in. One
// struct for all facts costs one allocation and one context value.
type request struct {
	id       uuid.UUID
	identity merchants.Identity
	code     string // of the problem in the answer; "": none
	err      error  // a fault of the service
	stack    string // of a panic

	paymentID uuid.UUID       // of the payment that the request is about; zero: none
	reply     *payments.Reply // nil: it is no change of money, or got no stored answer

	connection context.Context // ends when the client hangs up, and has no time limit
	streamed   bool            // the answer is a stream, which lasts as long as its reader wants
}

type requestKey struct{}

// replayed tells whether the answer was made for an earlier request.
func (q *request) replayed() bool { return q.reply != nil && q.reply.RequestID != q.id }

func requestOf(r *http.Request) *request { return r.Context().Value(requestKey{}).(*request) }

// identify gives the request an id, which its answer carries, and a time limit.
func (a *api) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := &request{id: uuid.Must(uuid.NewV7()), connection: r.Context()}
		w.Header().Set("Request-Id", payments.FormatRequestID(req.id))
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), requestKey{}, req),
			a.RequestTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// echoKey puts the Idempotency-Key, as received, on the answer.
func (a *api) echoKey(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if keys := r.Header["Idempotency-Key"]; len(keys) == 1 {
			w.Header()["Idempotency-Key"] = keys
		}
		next.ServeHTTP(w, r)
	})
}

// refuseCrossOrigin makes cross-origin browser requests read-only. No cookie carries an
// API key, so another origin's page has none today. But the console has this origin,
// and credentials that a browser may later keep for it must not serve other pages.
// Programs send neither Sec-Fetch-Site nor Origin, and pass.
func (a *api) refuseCrossOrigin(next http.Handler) http.Handler {
	var protection http.CrossOriginProtection // without exceptions
	return a.handle(func(w http.ResponseWriter, r *http.Request) error {
		if protection.Check(r) != nil {
			return errCrossOrigin
		}
		next.ServeHTTP(w, r)
		return nil
	})
}

// authenticate finds the merchant of a request. Only the limit on connections and the
// origin are checked before it. So
// a revoked key gets no stored answer either.
func (a *api) authenticate(next http.Handler) http.Handler {
	return a.handle(func(w http.ResponseWriter, r *http.Request) error {
		token, ok := bearerToken(r.Header["Authorization"])
		if !ok {
			return merchants.ErrUnauthorized
		}
		identity, err := a.Authenticator.Authenticate(r.Context(), token)
		if err != nil {
			return err
		}
		if identity.ReadOnly && r.Method != http.MethodGet && r.Method != http.MethodHead {
			return errReadOnlyKey
		}
		requestOf(r).identity = identity
		next.ServeHTTP(w, r)
		return nil
	})
}

// bearerToken reads the one Authorization header (RFC 6750, section 2.1; the scheme's
// case does not matter).
func bearerToken(values []string) (string, bool) {
	if len(values) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	return token, ok && strings.EqualFold(scheme, "bearer")
}

// pathParameter is the part of a request's path that the route calls name. chi leaves
// it escaped if anything in the path is escaped.
func pathParameter(r *http.Request, name string) string {
	id := chi.URLParam(r, name)
	if r.URL.RawPath == "" {
		return id
	}
	unescaped, err := url.PathUnescape(id)
	if err != nil {
		return id // net/http has refused paths that cannot be unescaped
	}
	return unescaped
}

// methods are all methods of the API.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost,
	http.MethodPatch, http.MethodDelete,
}

// methodNotAllowed answers 405 with the methods of the path, whatever the id in it.
func (a *api) methodNotAllowed(routes chi.Routes) http.HandlerFunc {
	return a.handle(func(w http.ResponseWriter, r *http.Request) error {
		path := r.URL.RawPath // as chi routes: an escaped slash separates nothing
		if path == "" {
			path = r.URL.Path
		}
		var allowed []string
		for _, method := range methods {
			if method == http.MethodHead && len(allowed) > 0 ||
				routes.Match(chi.NewRouteContext(), method, path) {
				allowed = append(allowed, method)
			}
		}
		if len(allowed) == 0 {
			return errNotFound // neither the method nor the path exists
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return errMethodNotAllowed
	})
}

// recoverPanic turns a panic into a 500. Deferred calls release locks and connections.
func (a *api) recoverPanic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch value := recover(); value {
			case nil:
			case http.ErrAbortHandler: // net/http closes the connection
				panic(value)
			default:
				a.writeProblem(w, r, panicError{value})
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// readyz tells whether this instance can charge now. A background worker keeps the
// answer up to date.
func (a *api) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := a.Ready(); err != nil {
		writeNotReady(w)
		return
	}
	writeText(w, http.StatusOK, "ready\n")
}

func writeNotReady(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	writeText(w, http.StatusServiceUnavailable, "not ready\n")
}
